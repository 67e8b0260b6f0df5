"""What the pipeline never does: run the YAML that it reads, hand on a password."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.errors import UserError
from pipeline.statistics import declaration
from tests.unit.training.command import Place

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
def test_objects_in_yaml_are_not_made(evil: Evil, tmp_path: Path) -> None:
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
        ('++tracking.uri="http://h/?key=t0ken"', "++tracking.uri='http://h/?***'"),
        ("tracking.uri=${oc.env:ADDRESS}", "tracking.uri=${oc.env:ADDRESS}"),
    ],
)
def test_a_word_loses_its_password_before_hydra_sees_it(word: str, expected: str, monkeypatch: Any) -> None:
    from pipeline.tracking import address

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert address.without_login(word) == expected
    assert (os.environ["MLFLOW_TRACKING_URI"] == "") == (word == expected)


@pytest.mark.fault("secrets")
def test_a_password_in_a_file_of_conf_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    """Hydra copies what it composes beside every run."""
    from pipeline.config import rules

    (tmp_path / "conf" / "tracking").mkdir(parents=True)
    (tmp_path / "conf" / "tracking" / "server.yaml").write_text(f"kind: server\nuri: {ADDRESS}\n")
    monkeypatch.setattr(rules, "options", lambda group: ("server",))
    monkeypatch.setattr(rules, "CONF", tmp_path / "conf")
    from pipeline import train

    with pytest.raises(UserError, match=r"conf/tracking/server\.yaml: holds a password.*MLFLOW_TRACKING_URI"):
        train.main([])
