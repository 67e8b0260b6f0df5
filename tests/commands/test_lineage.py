"""From a run to all it was made from, and links that are broken."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import lineage
from pipeline.cli.errors import RunsLost, UserError
from pipeline.storage import identity
from pipeline.storage.identity import key_of
from pipeline.tracking import open_tracker
from tests.unit.training.command import Place


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, processed: Path) -> Place:
    place = Place(tmp_path_factory.mktemp("project"), processed)
    assert place.train("-m", "optimizer=sgd", "model.width=4", "seed=0,1", "training.epochs=1").status == 0
    return place


@pytest.fixture
def told(swept: Place, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(*words: str, runs: Path | None = None) -> str:
        places = [f"runs={runs or swept.root / 'runs'}", f"data={swept.processed}", "tracking=none"]
        assert lineage.main([*words, *places]) == 0
        return capsys.readouterr().out

    return run


def test_a_run_names_all_it_came_from(swept: Place, told: Callable[..., str]) -> None:
    run = swept.runs[0]
    lines = told(run.name).splitlines()
    assert lines[0] == f"sgd-w4-d1-s0, finished, started {run.started}"
    by_word = {line.split()[0]: line for line in lines[1:]}
    assert by_word["key"].endswith(run.key)
    assert run.identity["data"] in by_word["data"]
    assert "(digits; in " in by_word["data"]
    assert by_word["code"].endswith("(the code that is here)")
    assert run.environment["git_commit"] in by_word["git"]
    assert "requirements.lock" in by_word["packages"]
    assert "(as here)" in by_word["packages"]
    assert run.environment["numerics_class"][:16] in by_word["machine"]
    assert any(line.startswith("  in         sweep ") for line in lines)


@pytest.mark.parametrize(
    ("recorded", "typed"),
    [
        ("/home/ada/gap/.dvc/tmp/exps/tmpx/pipeline/train.py -m seed=0,1", "python -m pipeline.train -m seed=0,1"),
        ("'/home/a b/gap/pipeline/tune.py' model.width=64", "python -m pipeline.tune model.width=64"),
        ("/home/ada/gap/pipeline/train.py", "python -m pipeline.train"),
        ("python -m pipeline.train note=/pipeline/train.py", "python -m pipeline.train note=/pipeline/train.py"),
        ("gap-train -m seed=0,1", "gap-train -m seed=0,1"),
    ],
)
def test_a_command_works_in_any_checkout(recorded: str, typed: str) -> None:
    """That of a DVC experiment too, whose temporary folder is gone."""
    assert identity.as_typed(recorded) == typed


@pytest.mark.parametrize("word", ["nothing", "0123456789abcdef"])
def test_what_is_not_there_is_said(told: Callable[..., str], word: str) -> None:
    with pytest.raises(UserError, match=f"{word}: no such run"):
        told(word)


@pytest.mark.parametrize("words", [[], ["a", "b"]])
def test_one_word_is_expected(told: Callable[..., str], words: list[str]) -> None:
    with pytest.raises(UserError, match="expected one RUN, or --check"):
        told(*words)


def test_whole_links_are_said_to_be(told: Callable[..., str]) -> None:
    assert told("--check") == "2 runs: no broken link\n"


@pytest.fixture
def broken(swept: Place, tmp_path: Path) -> Place:
    """A copy, to break things in."""
    shutil.copytree(swept.root, tmp_path / "project")
    return Place(tmp_path / "project", swept.processed)


BREAKS: dict[str, tuple[Callable[[Place], object], str]] = {
    "a run that is gone": (
        lambda place: shutil.rmtree(place.store.folder(place.store.keys()[0])),
        "1 of its 2 runs are gone",
    ),
    "a damaged run": (
        lambda place: (place.store.folder(place.store.keys()[0]) / "predictions.npy").write_bytes(b""),
        "damaged",
    ),
    "a commit that is not here": (
        lambda place: rewrite(place, environment={"git_commit": "d" * 40}),
        "its commit dddddddddddd is not in this repository",
    ),
    "sources of another key": (
        lambda place: rewrite(place, sources={"models/dense.py": "0" * 64}),
        "the digests of its source files are not those of its key",
    ),
    "data that are others now": (
        lambda place: otherwise_made(place, "e" * 64),
        "its data eeeeeeeeeeee are not those that are here",
    ),
    "a patch that is gone": (
        lambda place: rewrite(place, environment={"patch": "d" * 64}),
        "its uncommitted.diff is gone",
    ),
}


def rewrite(place: Place, **changes: dict[str, str]) -> None:
    run = place.store.read(place.store.keys()[0])
    merged = {name: {**getattr(run, name), **value} for name, value in changes.items()}
    place.store.write(dataclasses.replace(run, patch=b"", **merged))  # type: ignore[arg-type]


def otherwise_made(place: Place, data: str) -> None:
    """A run as it would be of other data."""
    run = place.store.read(place.store.keys()[0])
    made_of = {**run.identity, "data": data}
    place.store.write(dataclasses.replace(run, key=key_of(run.job, made_of), identity=made_of))


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_link_is_found(
    broken: Place, told: Callable[..., str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    act, expected = BREAKS[name]
    act(broken)
    with pytest.raises(RunsLost, match=r"broken links?, each named above"):
        told("--check", runs=broken.root / "runs")
    assert expected in capsys.readouterr().out


def test_what_mlflow_has_and_has_not_is_found(
    swept: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a real store: a run that it was said to have and has not, and one whose folder is gone."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    shutil.copytree(swept.root / "runs", tmp_path / "runs", ignore=shutil.ignore_patterns("sweeps"))
    place = Place(tmp_path, swept.processed)
    words = ["--check", f"runs={tmp_path / 'runs'}", f"data={swept.processed}", "tracking=sqlite"]
    first, second = place.store.keys()
    tracker = open_tracker("sqlite")
    place.store.note_published(first, tracker.publish(place.store.read(first), "tests"))
    assert lineage.main(words) == 0
    shutil.rmtree(place.store.folder(first))
    assert lineage.main(words) == 0
    place.store.note_published(second, {"run_id": "f" * 32})
    with pytest.raises(RunsLost, match="1 broken link, "):
        lineage.main(words)
    assert f"{second[:12]}: its MLflow run {'f' * 32} is not in the store" in capsys.readouterr().out
