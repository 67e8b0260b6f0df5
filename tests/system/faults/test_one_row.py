"""What MLflow shows of running runs, growing sweeps and deleted runs: one row for each run."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.sweep.publisher import Publisher
from pipeline.sweep.session import Session
from pipeline.tracking.tracker import Tracker
from tests.support.rows import Rows
from tests.system.faults.workspace import SMALL, Workspace, last_line

pytestmark = pytest.mark.usefixtures("formula")

AtEpoch = Callable[[int, Callable[[], None]], None]
SINGLE = ["optimizer=sgd", "model.width=4", "seed=7"]


@pytest.mark.fault("overlapping sweeps")
def test_a_sweep_that_grows_has_one_parent_and_one_that_overlaps_points_to_the_other(workspace: Workspace) -> None:
    assert workspace.tracked(*SMALL).status == 0
    assert workspace.tracked(*SMALL, "seed=range(5)").status == 0
    [first] = Rows(workspace.root).parents
    assert (first.info.run_name, first.info.status) == ("sgd, 4, 5 seeds", "FINISHED")
    assert workspace.tracked(*SMALL, "seed=range(4,6)").status == 0
    rows = Rows(workspace.root)
    [second] = [run for run in rows.parents if run.info.run_id != first.info.run_id]
    found = rows.children
    assert len({run.data.tags["run.key"] for run in found}) == len(found) == 6
    under = [run.data.tags["mlflow.parentRunId"] for run in found]
    assert sorted(map(under.count, (first.info.run_id, second.info.run_id))) == [1, 5]
    [shared] = [run for run in found if run.info.run_id == second.data.tags["runs.of_other_sweeps"]]
    assert shared.data.tags["mlflow.parentRunId"] == first.info.run_id


@pytest.mark.fault("deleted in MLflow")
def test_what_a_person_deleted_stays_deleted_until_it_is_asked_for(workspace: Workspace) -> None:
    assert workspace.tracked(*SMALL).status == 0
    rows = Rows(workspace.root)
    rows.client.delete_run(rows.parents[0].info.run_id)
    rows.client.delete_run(rows.children[0].info.run_id)
    assert workspace.tracked(*SMALL).status == 0
    assert counted(workspace) == (0, 2)
    assert workspace.tracked(*SMALL, "force=true").status == 0
    assert counted(workspace) == (1, 3)


def counted(workspace: Workspace) -> tuple[int, int]:
    """Return the numbers of parent and child runs in MLflow."""
    rows = Rows(workspace.root)
    return len(rows.parents), len(rows.children)


@pytest.fixture
def at_epoch(monkeypatch: pytest.MonkeyPatch) -> AtEpoch:
    """Return a function that has `what` called after epoch `number`, once MLflow has everything reported so far."""

    def told(number: int, what: Callable[[], None]) -> None:
        show = Publisher.show

        def patched(publisher: Publisher, run: Any, epoch: int = 0, metrics: Any = None) -> None:
            show(publisher, run, epoch, metrics)
            while publisher._tasks:
                time.sleep(0.01)
            if epoch == number:
                what()

        monkeypatch.setattr(Publisher, "show", patched)
        monkeypatch.setattr("pipeline.sweep.publisher.WRITE_SECONDS", 0.0)

    return told


@pytest.mark.fault("stopped while shown in MLflow")
def test_a_single_run_is_there_from_its_start_and_killed_by_ctrl_c(workspace: Workspace, at_epoch: AtEpoch) -> None:
    at_epoch(3, lambda: os.kill(os.getpid(), signal.SIGINT))
    done = workspace.tracked(*SINGLE, "training.epochs=1000")
    assert done.status == 130
    [run] = Rows(workspace.root).runs
    assert (run.info.status, run.data.params["model.width"]) == ("KILLED", "4")
    assert len(Rows(workspace.root).client.get_metric_history(run.info.run_id, "val/accuracy")) >= 2
    assert "1 run was not trained to the end (" in done.out
    assert "); the same command trains it\n" in done.out


@pytest.mark.fault("stopped while shown in MLflow")
def test_a_run_that_was_shown_while_it_trained_has_each_value_once(
    workspace: Workspace, at_epoch: AtEpoch, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[str] = []
    add = Tracker.add

    def seen(tracker: Tracker, run_id: str, points: Any) -> None:
        add(tracker, run_id, points)
        states.append(tracker.connection.client.get_run(run_id).info.status)

    monkeypatch.setattr(Tracker, "add", seen)
    at_epoch(1, lambda: None)
    assert workspace.tracked(*SINGLE, "training.epochs=6").status == 0
    [run] = Rows(workspace.root).runs
    result = next(iter(workspace.store))
    assert set(states) == {"RUNNING"}
    assert run.info.status == "FINISHED"
    history = Rows(workspace.root).client.get_metric_history(run.info.run_id, "train/loss")
    assert sorted((point.step, point.value) for point in history) == list(enumerate(result.history["train/loss"], 1))
    finite = {name: value for name, value in result.metrics.items() if value == value}
    assert finite.items() <= run.data.metrics.items()
    assert workspace.tracked(*SINGLE, "training.epochs=6").status == 0
    assert len(Rows(workspace.root).runs) == 1


@pytest.mark.fault("stopped while shown in MLflow")
def test_a_run_that_was_killed_is_one_row_when_it_is_trained(
    workspace: Workspace, at_epoch: AtEpoch, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Session, "stop", lambda *_: None)
        at_epoch(2, lambda: os.kill(os.getpid(), signal.SIGINT))
        assert workspace.tracked(*SINGLE, "training.epochs=40").status == 130
    monkeypatch.undo()
    assert workspace.tracked(*SINGLE, "training.epochs=40").status == 0
    assert [run.info.status for run in Rows(workspace.root).runs] == ["FINISHED"]


@pytest.mark.fault("a name that MLflow rejects")
@pytest.mark.parametrize("question", ["q" * 257, "two\\\nlines"])
def test_a_question_that_mlflow_never_takes_is_refused(workspace: Workspace, question: str) -> None:
    done = workspace.tracked(*SINGLE, f"question='{question}'")
    assert done.status == 2
    assert "one line and at most 256 characters" in last_line(done.err)
    assert not Path(workspace.store.root).exists()
