"""What the pipeline never does: run the YAML that it reads, hand on a password."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.errors import UserError
from pipeline.statistics import declaration
from tests.unit.training.command import Place


@pytest.mark.fault("hostile input")
def test_objects_in_yaml_are_not_made(tmp_path: Path) -> None:
    sentinel = tmp_path / "sentinel"
    evil = f"stages: !!python/object/apply:os.system ['touch {sentinel}']\nmeasures: 1\n"
    (tmp_path / "comparison.yaml").write_text(evil)
    with pytest.raises(UserError, match=r"comparison\.yaml"):
        declaration.load(tmp_path / "comparison.yaml")
    assert not sentinel.exists()


SECRETS = ("hunter2", "t0ken")
ADDRESS = "http://ada:hunter2@127.0.0.1:1/?key=t0ken"


@pytest.mark.fault("secrets")
@pytest.mark.usefixtures("keras")
@pytest.mark.parametrize("given_by", ["MLFLOW_TRACKING_URI", "tracking.uri"])
def test_a_password_reaches_no_file_and_no_line(
    given_by: str, tmp_path: Path, processed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a run, or a sweep of which a run is lost, that is to be told to a server that is not there."""
    (tmp_path / "project").mkdir()
    place = Place(tmp_path / "project", processed)
    small = ["tracking=server", "model.width=4", "training.epochs=1", "optimizer=sgd"]
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if given_by == "MLFLOW_TRACKING_URI":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", ADDRESS)
        told = place.train(*small)
    else:
        lost = ["optimizer.learning_rate=0.1,1000", "training.loss=mean_squared_error", "model.activation=linear"]
        told = place.train("-m", *small, *lost, "hydra.verbose=true", f"tracking.uri='{ADDRESS}'")
    assert told.status in (0, 5)
    assert "tracking at http://***@127.0.0.1:1/?***" in told.err
    assert len(told.err.splitlines()) == 1
    written = {path: path.read_bytes() for path in place.root.rglob("*") if path.is_file()}
    assert {"result.json", "overrides.yaml"} <= {path.name for path in written}
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
