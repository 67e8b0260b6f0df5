"""The pipeline never executes the YAML that it reads and never leaks a password."""

import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.errors import UserError
from pipeline.statistics import declaration
from tests.support.formula import Formula
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
@pytest.mark.parametrize("given_by", ["MLFLOW_TRACKING_URI", "tracking.uri"])
def test_a_password_reaches_no_file_and_no_line(
    given_by: str, tmp_path: Path, processed: Path, formula: Formula, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Train a run, or a sweep with a lost run, while the tracking server is down."""
    place = Place(tmp_path, processed)
    small = ["tracking=server", "model.width=4", "training.epochs=1", "optimizer=sgd"]
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if given_by == "MLFLOW_TRACKING_URI":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", ADDRESS)
        told = place.train(*small)
    else:
        formula.diverges = lambda job: job.seed == 1
        told = place.train("-m", *small, "seed=0,1", "hydra.verbose=true", f"tracking.uri='{ADDRESS}'")
    assert told.status in (0, 5)
    assert "tracking at http://***@127.0.0.1:1/?***" in told.err
    assert len(told.err.splitlines()) == 1
    written = {path: path.read_bytes() for path in place.root.rglob("*") if path.is_file()}
    hydras = "overrides.yaml" if given_by == "MLFLOW_TRACKING_URI" else "multirun.yaml"
    assert {"result.json", hydras} <= {path.name for path in written}
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
    assert address.redact_credential(word) == expected
    assert (os.environ["MLFLOW_TRACKING_URI"] == "") == (word == expected)
