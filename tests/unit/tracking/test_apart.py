"""Runs recorded by a second process: the same rows, whatever is done to it, and none of it left when this one is gone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.cli.console import PROJECT
from pipeline.storage.store import RunStore
from pipeline.sweep import session
from pipeline.sweep.publisher import Publisher
from pipeline.tracking import Tracker, apart, open_tracker, process
from pipeline.tracking.apart import Gone, Recorder
from pipeline.tracking.store import StoreDamaged
from tests.system.faults.workspace import Workspace
from tests.unit.tracking.factory import make_result

Fresh = Callable[[], Tracker]

PARENT = """
import os, sys
from pathlib import Path
from pipeline.tracking import open_tracker
from pipeline.tracking.apart import Recorder

if __name__ == "__main__":
    recorder = Recorder(open_tracker("sqlite", root=Path(sys.argv[1])))
    print(recorder._process.pid, flush=True)
    os.kill(os.getpid(), 9)
"""


def pid_of(recorder: Recorder) -> int:
    pid = recorder._process.pid
    assert pid is not None
    return pid


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory, blank_store: Path) -> Tracker:
    root = tmp_path_factory.mktemp("apart")
    (root / "mlflow.db").write_bytes(blank_store.read_bytes())
    return open_tracker("sqlite", root=root)


@pytest.fixture(scope="module")
def recorder(tracker: Tracker) -> Iterator[Recorder]:
    """Its start is seconds of imports, in which a signal to the whole group must not cut it off either, or say so."""
    made = Recorder(tracker)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid_of(made), number)
    yield made
    made.close()


def told(tracker: Tracker, parent: str) -> dict[str, object]:
    """What the store says of each run below `parent`, without what names the process and the very run."""
    client = tracker._ready()
    runs = tracker.search(client, ["1", "2"], f"tags.`mlflow.parentRunId` = '{parent}'")
    own = (process.TAG, "mlflow.parentRunId")
    return {
        run.info.run_name: (
            run.info.status,
            run.info.start_time,
            run.info.end_time,
            run.data.params,
            {name: value for name, value in run.data.tags.items() if name not in own},
            {
                name: [point.value for point in client.get_metric_history(run.info.run_id, name)]
                for name in run.data.metrics
            },
            [(one.dataset.name, one.dataset.digest) for one in run.inputs.dataset_inputs],
        )
        for run in runs
    }


def test_what_is_recorded_there_is_what_is_recorded_here(tracker: Tracker, recorder: Recorder) -> None:
    results = [make_result(0), make_result(1, status="diverged", reason="loss is nan", figures={})]
    there, here = (tracker.begin(experiment, "sweep", {}) for experiment in ("e", "f"))
    ids = [recorder.publish(result, "e", there, {"name": "mnist"}) for result in results]
    again = [tracker.publish(result, "f", here, {"name": "mnist"}) for result in results]
    assert all(set(one) == set(other) for one, other in zip(ids, again, strict=True))
    assert len(told(tracker, there)) == 2
    assert told(tracker, there) == told(tracker, here)
    assert [recorder.publish(result, "e", there, None)["run_id"] for result in results] == [
        one["run_id"] for one in ids
    ]


@pytest.mark.fault("SIGTERM and Ctrl-C")
def test_a_signal_to_all_processes_does_not_cut_it_off(recorder: Recorder) -> None:
    recorder.publish(make_result(0), "e", None, None)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid_of(recorder), number)
    assert recorder.publish(make_result(1), "e", None, None)["run_id"]


@pytest.mark.slow
def test_a_store_that_cannot_be_used_is_said_as_ever(fresh: Fresh, tmp_path: Path) -> None:
    tracker = fresh()
    (tmp_path / "mlflow.db").write_bytes(b"")
    recorder = Recorder(tracker)
    with pytest.raises(StoreDamaged, match="empty"):
        recorder.publish(make_result(0), "e", None, None)
    recorder.close()


@pytest.mark.fault("SIGKILL")
def test_killed_its_runs_are_recorded_here_and_none_twice(fresh: Fresh, tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    results = [make_result(seed) for seed in range(6)]
    for result in results:
        store.write(result)
    tracker = fresh()
    publisher = Publisher(tracker, store, "e", second_process=True)
    publisher.begin("sweep", {}, "id")
    for result in results[:3]:
        publisher.publish(result)
    assert publisher._recorder is not None
    recorder = publisher._recorder
    publisher.call(lambda: os.kill(pid_of(recorder), signal.SIGKILL))
    for result in results[2:]:
        publisher.publish(result)
    assert publisher.close("FINISHED") is None
    assert publisher._recorder is None
    assert publisher.parent is not None
    assert len(told(tracker, publisher.parent)) == 6
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (7,)
    with pytest.raises(Gone):
        Recorder.publish(recorder, results[0], "e", None, None)


@pytest.mark.slow
def test_where_no_process_can_be_had_this_one_records(
    fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(method: str) -> None:
        raise OSError("no process to be had")

    monkeypatch.setattr(apart, "get_context", refuse)
    store, tracker = RunStore(tmp_path / "runs"), fresh()
    store.write(make_result())
    publisher = Publisher(tracker, store, "e", second_process=True)
    publisher.begin("sweep", {}, "id")
    publisher.publish(make_result())
    assert publisher.close("FINISHED") is None
    assert publisher.parent is not None
    assert len(told(tracker, publisher.parent)) == 1


@pytest.mark.slow
@pytest.mark.fault("SIGKILL")
def test_it_ends_with_a_command_that_is_killed(fresh: Fresh, tmp_path: Path) -> None:
    fresh()
    (tmp_path / "parent.py").write_text(PARENT)
    environment = dict(os.environ, PYTHONPATH=str(PROJECT))
    command = [sys.executable, str(tmp_path / "parent.py"), str(tmp_path)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL
    last = time.monotonic() + 5
    while process._started(int(done.stdout)):
        assert time.monotonic() < last, "an orphan is left"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_large_sweep_is_recorded_by_one_and_a_small_one_is_not(
    tmp_path: Path, blank_store: Path, processed: Path, monkeypatch: pytest.MonkeyPatch, keras: object
) -> None:
    before = multiprocessing.active_children()
    workspace = Workspace(tmp_path, processed)
    workspace.database.write_bytes(blank_store.read_bytes())
    for most, recorders in ((3, 0), (2, 1)):
        monkeypatch.setattr(session, "FROM", most)
        said = workspace.tracked(
            "-m", "optimizer=sgd", "model.width=4", f"seed={most},{most + 10}", "training.epochs=1"
        )
        assert (said.status, said.err) == (0, "")
        with sqlite3.connect(workspace.database) as connection:
            rows = connection.execute(
                "SELECT name, (SELECT value FROM tags WHERE run_uuid = runs.run_uuid AND key = ?) FROM runs "
                "WHERE name LIKE 'sgd-w4-d1-s%' AND status = 'FINISHED'",
                (process.TAG,),
            ).fetchall()
        elsewhere = [name for name, tag in rows if f'"pid": {os.getpid()},' not in tag]
        assert len(rows) == (2 if not recorders else 4)
        assert len(elsewhere) == 2 * recorders
    assert multiprocessing.active_children() == before, "a process is left"
