"""Two at once on one store: every row there, none twice, nobody in the other one's way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli.console import PROJECT
from pipeline.storage.locks import LOCK
from pipeline.training.result import FINISHED
from tests.system.faults.sound import assert_sound
from tests.system.faults.workspace import Workspace

pytestmark = pytest.mark.fault("two sweeps at once")

WRITERS = """
import os, sys
from pathlib import Path
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import Sweep, write_results
from tests.support.factory import KEY, stored

def work(rounds):
    store = RunStore(Path(sys.argv[1]) / "runs")
    for number in range(rounds):
        store.write(stored())
        assert store.read(KEY).finished
        write_results(store, Sweep("tests", [KEY]), Path(sys.argv[1]) / "results")

pids = []
for _ in range(2):
    if not (pid := os.fork()):
        try:
            work(int(sys.argv[2]))
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", flush=True)
            os._exit(1)
        os._exit(0)
    pids.append(pid)
sys.exit(sum(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids))
"""


def write_side_by_side(folder: Path, rounds: int, prelude: str = "") -> None:
    words = [sys.executable, "-c", prelude + WRITERS, str(folder), str(rounds)]
    done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    left = [path.name for path in (folder / "runs").iterdir() if len(path.name) != 64]
    assert left == [LOCK], "nothing but the run is left"


def test_two_that_write_the_same_run_do_not_meet(tmp_path: Path) -> None:
    write_side_by_side(tmp_path, 60)


BOTH = ["-m", "optimizer=sgd", "model.width=4", "training.epochs=1"]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_two_sweeps_of_two_hundred_jobs_on_a_fresh_store(workspace: Workspace) -> None:
    """A hundred of the jobs are the same."""
    sweeps = [
        workspace.start(*BOTH, f"seed=range({first},{first + 200})", f"hydra.sweep.dir={workspace.root}/sweep {first}")
        for first in (0, 100)
    ]
    told = [sweep.communicate(timeout=800) for sweep in sweeps]
    assert [(sweep.returncode, err) for sweep, (_, err) in zip(sweeps, told, strict=True)] == [(0, ""), (0, "")]
    assert [run.status for run in workspace.store] == [FINISHED] * 300
    assert_sound(workspace)
    assert workspace.statuses() == {"FINISHED": 2 + 300}, "two parents, and one row for each run"
