"""Several machines share a folder of runs: six processes write and two read; two of the writers are killed.

File locks work across all machines that share a drive (NFS included), so processes of one machine stand in for them.
"""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli.console import PROJECT
from pipeline.cli.errors import UserError
from pipeline.data.files import LOCK
from pipeline.storage.store import RunStore
from pipeline.training.result import FINISHED
from tests.support.factory import KEY, seeded, stored
from tests.system.faults.sound import assert_files_whole, assert_sound
from tests.system.faults.workspace import Workspace

pytestmark = pytest.mark.fault("two sweeps at once")

MACHINES = """
import multiprocessing, sys, time
from contextlib import suppress
from pathlib import Path

from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import Ledger, Sweep
from tests.support.factory import seeded

RUNS = sorted((seeded(seed) for seed in range(6)), key=lambda run: run.key)
KEYS = [run.key for run in RUNS]
store = RunStore(Path(sys.argv[1]) / "runs")
until = time.monotonic() + 1.5

def write(number):
    while True:  # at least once, however slow the machine is
        for run in RUNS[number % 3:][:4]:
            store.write(run)
            store.note_published(run.key, {"run_id": str(number), "store": f"http://machine-{number}"})
        Ledger(store).write(Sweep("shared", KEYS, id="0" * 64))
        if time.monotonic() > until:
            return

def read(number):
    while not list(Ledger(store)):  # written after its runs
        time.sleep(0.01)
    while not set(KEYS) <= set(store.keys()):
        time.sleep(0.01)
    while time.monotonic() < until:
        for key in KEYS:
            with suppress(KeyError):  # its writer was killed between its two steps
                assert store.read(key).finished
        [sweep] = Ledger(store)
        assert sweep.keys == KEYS

fork = multiprocessing.get_context("fork")
machines = [fork.Process(target=work, args=[number]) for number, work in enumerate([write] * 6 + [read] * 2)]
for machine in machines:
    machine.start()
for machine in machines[:2]:
    time.sleep(0.5)
    machine.kill()
for machine in machines:
    machine.join()
sys.exit(any(machine.exitcode for machine in machines[2:]))
"""


def test_eight_machines_lose_nothing_and_leave_nothing_half(tmp_path: Path) -> None:
    words = [sys.executable, "-c", MACHINES, str(tmp_path)]
    done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert_files_whole(tmp_path)
    store = RunStore(tmp_path / "runs")
    assert store.keys() == sorted(seeded(seed).key for seed in range(6))
    assert [run.status for run in store] == [FINISHED] * 6
    store.write(stored())
    assert hidden(store.root) == [LOCK]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_drive_without_locks_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(UserError, match=rf"runs: cannot be written \({os.strerror(number)}\)"):
        RunStore(tmp_path / "runs").write(stored())


def test_what_a_killed_writer_left_goes_with_the_next_run_that_is_written(tmp_path: Path) -> None:
    (tmp_path / f".{KEY}.999999999.part").mkdir()
    RunStore(tmp_path).write(seeded(1))
    assert hidden(tmp_path) == [LOCK]


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


BOTH = ["-m", "optimizer=sgd", "model.width=4", "training.epochs=1"]


@pytest.mark.slow
def test_two_sweeps_on_a_fresh_store(workspace: Workspace) -> None:
    """Each sweep shares half of its jobs with the other."""
    sweeps = [
        workspace.start(*BOTH, f"seed=range({first},{first + 8})", f"hydra.sweep.dir={workspace.root}/sweep {first}")
        for first in (0, 4)
    ]
    told = [sweep.communicate() for sweep in sweeps]
    assert [(sweep.returncode, err) for sweep, (_, err) in zip(sweeps, told, strict=True)] == [(0, ""), (0, "")]
    assert [run.status for run in workspace.store] == [FINISHED] * 12
    assert_sound(workspace)
    assert workspace.statuses() == {"FINISHED": 2 + 12}, "two parents, and one row for each run"
