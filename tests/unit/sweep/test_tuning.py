"""A tuning: the commands that its runs name, and a server that is down."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.config.compose import composed, to_job
from pipeline.sweep import tuning
from pipeline.sweep.outcome import Outcome
from pipeline.sweep.plan import PlannedRun
from pipeline.tracking import TrackingUnavailable
from pipeline.training.result import RunResult
from tests.support.factory import stored as result

BUDGET = {"optimizers": "adam", "decades": "-1,0,1", "step": "5", "rates": "4"}
BUDGET |= {"choosing_seeds": "2", "final_seeds": "2"}


pytestmark = pytest.mark.usefixtures("hydra_as_before")


@pytest.fixture
def tuner(processed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuning.Tuner:
    """A tuner of one optimizer, whose MLflow store does not exist yet."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    own = ["dataset=digits", "model.width=8", "training.epochs=1", "device=cpu", "device.xla=false"]
    places = [f"paths.data={processed}", f"paths.runs={tmp_path}/runs", "tracking=sqlite"]
    return tuning.Tuner(tuning.Budget.of(BUDGET), [*own, *places])


@pytest.fixture
def trains(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that replaces `Session`: `end` gives a run's result, `trouble` is MLflow's error."""

    def replace_session(end: Callable[[PlannedRun], RunResult], trouble: Exception | None = None) -> None:
        def session(runs: Sequence[PlannedRun], *_: object, **__: object) -> SimpleNamespace:
            ended = SimpleNamespace(outcomes={run.key: Outcome(run, end(run)) for run in runs}, unsent=trouble)
            return SimpleNamespace(run=lambda: ended)

        monkeypatch.setattr(tuning, "Session", session)

    return replace_session


def test_a_run_of_a_tuning_is_that_of_the_command_that_it_names(tuner: tuning.Tuner) -> None:
    run = tuner.bases["adam"].run(1.0, 3)
    assert run.overrides[-2:] == ["optimizer.learning_rate=0.01", "seed=3"]
    assert to_job(composed([run.overrides])[0]) == run.job


def test_a_server_that_is_down_stops_no_tuning(tuner: tuning.Tuner, trains: Callable[..., None]) -> None:
    def end(run: PlannedRun) -> RunResult:
        return result(job=run.job, identity=run.identity, metrics={"best/val_accuracy": 0.5})

    trains(end, TrackingUnavailable("away"))
    assert [len(found.tried) for found in tuner.run()] == [4]
    assert str(tuner.unsent) == "away"
