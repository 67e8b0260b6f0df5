"""One tuning: what is trained and published of it, and what only MLflow lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from pipeline.storage.store import RunStore
from pipeline.sweep import tuning
from pipeline.sweep.outcome import Outcome
from pipeline.sweep.plan import PlannedRun
from pipeline.tracking import TrackingUnavailable
from pipeline.training.result import FAILED, FINISHED, RunResult
from tests.support.factory import stored as result

BUDGET = {"optimizers": "adam", "decades": "-1,0,1", "step": "5", "rates": "4"}
BUDGET |= {"choosing_seeds": "2", "final_seeds": "2"}


pytestmark = pytest.mark.usefixtures("hydra_as_before")


@pytest.fixture
def search(processed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuning.Search:
    """Of one optimizer, with an MLflow store of its own that is not there yet."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    own = ["dataset=digits", "model.width=8", "training.epochs=1", "device=cpu", "device.xla=false"]
    places = [f"paths.data={processed}", f"paths.runs={tmp_path}/runs", "tracking=sqlite"]
    return tuning.Search(tuning.Budget.of(BUDGET), [*own, *places])


@pytest.fixture
def trains(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A session whose runs end as a function of the test says; MLflow has trouble if that function does."""

    def replace_session(end: Callable[[PlannedRun], RunResult], trouble: Exception | None = None) -> None:
        def train(runs: Sequence[PlannedRun], *_: object, **__: object) -> Iterator[tuple[int, Outcome]]:
            yield from ((at, Outcome(run, end(run))) for at, run in enumerate(runs))
            if trouble:
                raise trouble

        monkeypatch.setattr(tuning, "train", train)

    return replace_session


@pytest.mark.parametrize("status", ["", FAILED], ids=["not at all", "as one that failed"])
def test_what_mlflow_has_not_got_is_published_by_the_same_command(
    search: tuning.Search, tmp_path: Path, trains: Callable[..., None], status: str
) -> None:
    store, published = RunStore(tmp_path / "runs"), []
    ids = {"run_id": "id", "store": str(tmp_path / "mlflow.db")}

    def publish(run: PlannedRun) -> RunResult:
        published.append(run.key)
        store.note_published(run.key, ids | {"status": FINISHED})
        return store.read(run.key)

    trains(publish)
    runs = [search.bases["adam"].run(0.0, seed) for seed in range(2)]
    for run in runs:
        store.write(result(job=run.job, identity=run.identity))
        if status:
            store.note_published(run.key, ids | {"status": status})
    for _ in range(2):
        assert len(search.train([("adam", 0.0)], range(2))[0]) == 2
    assert published == [run.key for run in runs], "once, since it has them then"


def test_a_server_that_is_down_stops_no_tuning(search: tuning.Search, trains: Callable[..., None]) -> None:
    def end(run: PlannedRun) -> RunResult:
        return result(job=run.job, identity=run.identity, figures={"best/val_accuracy": 0.5})

    trains(end, TrackingUnavailable("away"))
    assert [len(found.tried) for found in search.run()] == [4]
    assert str(search.unsent) == "away"
