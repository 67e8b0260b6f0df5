"""What the pipeline never does: run what it reads, listen to others, hand on a password, check with `assert`."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.data import sources
from pipeline.statistics import declaration
from pipeline.storage import lineage
from tests.support.imports import CHECKOUT
from tests.unit.training.command import Place

FILES = sorted(path for room in ("pipeline", "hydra_plugins", "scripts") for path in (CHECKOUT / room).rglob("*.py"))


@cache
def walked() -> list[tuple[str, Any]]:
    trees = {path.relative_to(CHECKOUT): ast.parse(path.read_text("utf-8")) for path in FILES}
    wanted = (ast.Assert, ast.Call, ast.Constant)
    return [
        (f"{path}:{node.lineno}", node)
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, wanted)
    ]


def nodes(kind: type) -> Iterator[tuple[str, Any]]:
    return ((place, node) for place, node in walked() if isinstance(node, kind))


# --- code


@pytest.mark.fault("surroundings")
def test_nothing_is_checked_by_assert() -> None:
    """`python -O` leaves them out. What tells the type checker something it cannot see may stay: `assert x is not None`."""

    def tells_a_type(test: ast.expr) -> bool:
        if isinstance(test, ast.Compare):
            right = test.comparators[0]
            return isinstance(test.ops[0], ast.IsNot) and isinstance(right, ast.Constant) and right.value is None
        return isinstance(test, ast.Call) and isinstance(test.func, ast.Name) and test.func.id == "isinstance"

    checks = [place for place, node in nodes(ast.Assert) if node.msg is not None or not tells_a_type(node.test)]
    assert checks == []


RUNS_WHAT_IT_READS = {"eval", "exec", "compile", "__import__"}
RUNS_A_FILE = {
    *("pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib.load", "os.system", "os.popen", "torch.load"),
    *("yaml.load", "yaml.full_load", "yaml.unsafe_load", "keras.models.load_model", "keras.saving.load_model"),
    *("mlflow.pyfunc.load_model", "mlflow.keras.load_model", "shutil.unpack_archive", "runpy"),
}


@pytest.mark.fault("hostile input")
def test_nothing_that_is_read_is_run() -> None:
    """Models are arrays and the plain values of their job: no pickle, no layers from a file, no archive unpacked by itself."""
    found = []
    for place, call in nodes(ast.Call):
        name = ast.unparse(call.func)
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        unsafe = name in RUNS_WHAT_IT_READS or any(name == one or name.startswith(f"{one}.") for one in RUNS_A_FILE)
        unsafe |= name.endswith(("np.load", "np.save", "np.savez")) and keywords.get("allow_pickle") != "False"
        unsafe |= keywords.get("shell") == "True" or name.endswith((".extractall", ".extract"))
        if unsafe:
            found.append(f"{place}: {ast.unparse(call)}")
    assert found == []


def test_every_text_is_read_in_utf_8() -> None:
    """What a locale says otherwise would make of `conf/` on another machine. Rooms that decide numbers hold plain ASCII."""
    texts = [
        place
        for place, call in nodes(ast.Call)
        if ast.unparse(call.func).endswith(".read_text")
        and "utf-8" not in ast.unparse(call)
        and place.startswith("pipeline")
        and place.split("/")[1] not in PLAIN
    ]
    assert texts == []


PLAIN = ("data", "models", "training", "tracking")
"""Rooms that read numbers, digests and what a kernel says: ASCII, all of it."""


def test_nothing_listens_to_others() -> None:
    everywhere = [place for place, node in nodes(ast.Constant) if node.value in ("0.0.0.0", "::", "*:")]
    assert everywhere == []


# --- YAML


class Evil:
    def __init__(self, tmp_path: Path) -> None:
        self.sentinel = tmp_path / "sentinel"
        self.text = f"stages: !!python/object/apply:os.system ['touch {self.sentinel}']\nmeasures: 1\n"


@pytest.fixture
def evil(tmp_path: Path) -> Iterator[Evil]:
    made = Evil(tmp_path)
    yield made
    assert not made.sentinel.exists()


@pytest.mark.fault("hostile input")
def test_objects_in_yaml_are_not_made(evil: Evil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "PROJECT", tmp_path)
    (tmp_path / "dvc.lock").write_text(evil.text)
    assert list(lineage.locked_outputs("digits")) == []
    (tmp_path / "comparison.yaml").write_text(evil.text)
    with pytest.raises(UserError, match=r"comparison\.yaml"):
        declaration.load(tmp_path / "comparison.yaml")


@pytest.mark.fault("hostile input")
def test_objects_in_a_configuration_are_not_made(evil: Evil, tmp_path: Path, processed: Path) -> None:
    """`--config-dir` puts a folder of a person's own before Hydra."""
    (tmp_path / "conf" / "hydra" / "job_logging").mkdir(parents=True)
    (tmp_path / "conf" / "hydra" / "job_logging" / "evil.yaml").write_text(evil.text)
    place = Place(tmp_path, processed)
    done = place.train(f"--config-dir={tmp_path / 'conf'}", "hydra/job_logging=evil")
    assert done.status == 2
    assert len(done.err.splitlines()) == 1


# --- downloads


@pytest.mark.parametrize(
    "word", ["http://mirror.example/", "ftp://mirror.example/", "file:///etc", "HTTP://x", "https://"]
)
def test_mirrors_are_folders_or_https(tmp_path: Path, word: str) -> None:
    with pytest.raises(UserError, match="expected folders and https:// addresses"):
        sources.mirrors(sources.MNIST, tmp_path, {}, word)


# --- passwords


@dataclass
class Told:
    status: int
    out: str
    err: str
    root: Path


SECRETS = ("hunter2", "t0ken")
ADDRESS = "http://ada:hunter2@127.0.0.1:1/?key=t0ken"


@pytest.fixture(scope="module", params=["MLFLOW_TRACKING_URI", "tracking.uri"])
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, processed: Path, keras: Any) -> Told:
    """A run, or a sweep of which a run is lost, that is to be told to a server that is not there."""
    place = Place(tmp_path_factory.mktemp("project"), processed)
    small = ["tracking=server", "model.width=4", "training.epochs=1", "optimizer=sgd"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        if request.param == "MLFLOW_TRACKING_URI":
            patch.setenv("MLFLOW_TRACKING_URI", ADDRESS)
            done = place.train(*small)
        else:
            lost = ["optimizer.learning_rate=0.1,1000", "training.loss=mean_squared_error", "model.activation=linear"]
            done = place.train("-m", *small, *lost, "hydra.verbose=true", f"tracking.uri='{ADDRESS}'")
    return Told(done.status, done.out, done.err, place.root)


@pytest.mark.fault("secrets")
def test_a_password_reaches_no_file_and_no_line(told: Told) -> None:
    assert told.status in (0, 5)
    assert "tracking at http://***@127.0.0.1:1/?***" in told.err
    assert len(told.err.splitlines()) == 1
    written = {path: path.read_bytes() for path in told.root.rglob("*") if path.is_file()}
    assert any(path.name == "result.json" for path in written)
    assert any(path.name == "overrides.yaml" for path in written)
    for secret in SECRETS:
        assert secret not in told.out + told.err
        assert [path for path, content in written.items() if secret.encode() in content] == []


@pytest.mark.fault("secrets")
@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("tracking.uri=http://ada:hunter2@h:1", "tracking.uri='http://***@h:1'"),
        ("+tracking.uri='http://hunter2@h'", "+tracking.uri='http://***@h'"),
        ('++tracking.uri="http://h/?key=t0ken"', "++tracking.uri='http://h/?***'"),
        ("tracking.uri=http://127.0.0.1:5000", "tracking.uri=http://127.0.0.1:5000"),
        ("tracking.uri=${oc.env:ADDRESS}", "tracking.uri=${oc.env:ADDRESS}"),
        ("question=ada@h", "question=ada@h"),
    ],
)
def test_a_word_loses_its_password_before_hydra_sees_it(word: str, expected: str, monkeypatch: Any) -> None:
    from pipeline import train

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert train._without_login(word) == expected
    assert (os.environ["MLFLOW_TRACKING_URI"] == "") == (word == expected)


@pytest.mark.fault("secrets")
def test_a_password_in_a_file_of_conf_is_refused(tmp_path: Path, processed: Path, monkeypatch: Any) -> None:
    """Hydra copies what it composes beside every run."""
    from pipeline.config import rules

    (tmp_path / "conf" / "tracking").mkdir(parents=True)
    (tmp_path / "conf" / "tracking" / "server.yaml").write_text(f"kind: server\nuri: {ADDRESS}\n")
    monkeypatch.setattr(rules, "options", lambda group: ("server",))
    monkeypatch.setattr(rules, "CONF", tmp_path / "conf")
    from pipeline import train

    with pytest.raises(UserError, match=r"conf/tracking/server\.yaml: holds a password.*MLFLOW_TRACKING_URI"):
        train.main([])
