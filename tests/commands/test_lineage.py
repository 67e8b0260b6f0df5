"""The lineage command traces a run to everything it was made from."""

from pathlib import Path

import pytest

from pipeline import lineage
from pipeline.storage import identity
from tests.support.formula import installed
from tests.unit.training.command import Place


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, processed: Path) -> Place:
    place = Place(tmp_path_factory.mktemp("project"), processed)
    with pytest.MonkeyPatch.context() as patch:
        installed(patch)
        assert place.train("-m", "optimizer=sgd", "model.width=4", "seed=0,1", "training.epochs=1").status == 0
    return place


def told(swept: Place, *words: str) -> None:
    assert lineage.main([*words, f"runs={swept.root / 'runs'}", f"data={swept.processed}"]) == 0


def test_a_run_names_all_it_came_from(swept: Place, capsys: pytest.CaptureFixture[str]) -> None:
    run = swept.runs[0]
    told(swept, run.name)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"sgd-w4-d1-s0, finished, started {run.started}"
    by_word = {line.split()[0]: line for line in lines[1:]}
    assert by_word["key"].endswith(run.key)
    assert run.identity["data"] in by_word["data"]
    assert "(digits; in " in by_word["data"]
    assert by_word["code"].endswith("(the same here)")
    assert run.environment["git_commit"] in by_word["git"]
    assert "requirements.lock" in by_word["packages"]
    assert "(the same here)" in by_word["packages"]
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
    """Also the command of a DVC experiment, whose temporary folder no longer exists."""
    assert identity.as_typed(recorded) == typed
