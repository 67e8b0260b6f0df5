"""Which process is known to be gone; several on one store; what a killed one leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.console import PROJECT
from pipeline.tracking import open_tracker, process


def changed(**changes: Any) -> dict[str, str]:
    return {process.TAG: json.dumps(json.loads(process.tag()[process.TAG]) | changes)}


@pytest.mark.parametrize(
    ("tags", "gone"),
    [
        (process.tag(), False),
        (changed(started=1.0), True),  # another process had the same number
        (changed(pid=999_999_999), True),
        (changed(pid=999_999_999, host="elsewhere"), False),
        *(({process.TAG: text}, False) for text in ("", "{", "[]", '{"pid": "x"}', '[{"pid": 1}]')),
    ],
)
def test_only_a_process_that_is_known_to_be_gone_is_dead(tags: dict[str, str], gone: bool) -> None:
    assert process.dead(tags) == gone


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
    working = start(tmp_path, "e", 0, 1, code=WORK + HANG)
    assert working.stdout is not None
    assert working.stdout.readline() == "ready\n"
    tracker = open_tracker("sqlite", root=tmp_path)
    assert tracker.close_stale() == []
    working.send_signal(signal.SIGKILL)
    working.communicate()
    [killed] = tracker.close_stale()
    client = tracker.connection.client
    assert client.get_run(killed).info.status == "KILLED"
    assert {run.info.status for run in client.search_runs(["1"], "tags.status = 'finished'")} == {"FINISHED"}
