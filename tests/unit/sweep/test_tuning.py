"""One tuning: what is trained and published of it, and what only MLflow lacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pipeline.sweep import session, tuning
from pipeline.sweep.outcome import Outcome
from pipeline.sweep.plan import PlannedRun
from pipeline.tracking import TrackingUnavailable
from pipeline.training.result import FAILED, FINISHED
from tests.unit.storage.test_store import result
from tests.unit.training.command import as_before

BUDGET = {"optimizers": "adam", "decades": "-1,0,1", "step": "5", "rates": "4"}
BUDGET |= {"choosing_seeds": "2", "final_seeds": "2"}


@pytest.fixture(autouse=True)
def _hydra_as_before() -> Iterator[None]:
    with as_before():
        yield


@pytest.fixture
def search(processed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuning.Search:
    """Of one optimizer, with an MLflow store of its own that is not there yet."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    own = ["dataset=digits", "model.width=8", "training.epochs=1", "device=cpu", "device.xla=false"]
    places = [f"paths.data={processed}", f"paths.runs={tmp_path}/runs", "tracking=sqlite"]
    return tuning.Search(tuning.Budget.of(BUDGET), [*own, *places])


@pytest.mark.parametrize("status", ["", FAILED], ids=["not at all", "as one that failed"])
def test_what_mlflow_has_not_got_is_published_by_the_same_command(
    search: tuning.Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    sessions = []

    def run_sweep(runs: Sequence[PlannedRun], _: object) -> Iterator[tuple[int, Outcome]]:
        sessions.append([run.key for run in runs])
        for position, run in enumerate(runs):
            search.store.note_published(run.key, ids | {"status": FINISHED})
            yield position, Outcome(run)

    ids = {"run_id": "id", "store": str(tmp_path / "mlflow.db")}
    monkeypatch.setattr(session, "run_sweep", run_sweep)
    runs = [search.bases["adam"].run(0.0, seed) for seed in range(2)]
    for one in runs:
        search.store.write(result(job=one.job, identity=one.identity))
        if status:
            search.store.note_published(one.key, ids | {"status": status})
    for _ in range(2):
        assert len(search.train([("adam", 0.0)], range(2))[0]) == 2
    assert sessions == [[one.key for one in runs]], "once, since it has them then"


def test_a_server_that_is_down_stops_no_tuning(search: tuning.Search, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_sweep(runs: Sequence[PlannedRun], _: object) -> Iterator[tuple[int, Outcome]]:
        for position, run in enumerate(runs):
            search.store.write(result(job=run.job, identity=run.identity, figures={"val/accuracy": 0.5}))
            yield position, Outcome(run)
        raise TrackingUnavailable("away")

    monkeypatch.setattr(session, "run_sweep", run_sweep)
    assert [len(found.tried) for found in search.run()] == [4]
    assert str(search.unsent) == "away"
