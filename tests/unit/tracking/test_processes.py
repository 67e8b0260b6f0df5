"""Several processes on one store; what a normal run prints; what a killed one leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli.console import PROJECT
from pipeline.tracking import open_tracker

WORK = """
import sys
from pathlib import Path
from pipeline.tracking import ParentRun, open_tracker
from tests.unit.tracking.factory import make_result

root, experiment, first, last = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
tracker = open_tracker("sqlite", root=root)
tracker.warm()
parent = tracker.begin(ParentRun(experiment, "sweep", {}, sweep_id="shared"))
for seed in range(first, last):
    tracker.publish(make_result(seed), experiment, parent)
"""
HANG = "print('ready', flush=True); import time; time.sleep(600)"


def start(root: Path, *words: object, code: str = WORK) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-c", code, str(root), *map(str, words)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.slow
@pytest.mark.fault("two sweeps at once")
def test_two_processes_on_a_fresh_store_lose_and_repeat_nothing(tmp_path: Path) -> None:
    """They make the store, the experiment and the sweep together, and half of their runs are the same."""
    working = [start(tmp_path, "e", 0, 12), start(tmp_path, "e", 6, 18)]
    told = [one.communicate(timeout=120) for one in working]
    assert told == [("", ""), ("", "")], "a normal run prints nothing: no warning, no log line"
    assert [one.returncode for one in working] == [0, 0]
    client = open_tracker("sqlite", root=tmp_path).connection.client
    experiment = client.get_experiment_by_name("e")
    names = [run.info.run_name for run in client.search_runs([experiment.experiment_id])]
    assert sorted(names) == sorted(["sweep", *(f"adam-w64-d1-s{seed}" for seed in range(18))])
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", "mlflow.db.lock", "mlartifacts"}


@pytest.mark.fault("SIGKILL")
def test_sweep_of_a_killed_process_is_closed(tmp_path: Path, blank_store: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(blank_store.read_bytes())
    process = start(tmp_path, "e", 0, 1, code=WORK + HANG)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    tracker = open_tracker("sqlite", root=tmp_path)
    assert tracker.close_stale() == []
    process.send_signal(signal.SIGKILL)
    process.communicate()
    [killed] = tracker.close_stale()
    client = tracker.connection.client
    assert client.get_run(killed).info.status == "KILLED"
    assert {run.info.status for run in client.search_runs(["1"], "tags.status = 'finished'")} == {"FINISHED"}
