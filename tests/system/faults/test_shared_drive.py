"""A folder of runs that several machines write to: six that write, two that read, some of them killed, and no lock between
them. A lock on a folder ends at its machine, so here there is none, and each process says that it is another machine."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.cli.console import PROJECT
from pipeline.storage import shared
from pipeline.storage.store import RunStore
from pipeline.training.result import FINISHED
from tests.support.factory import KEY, seeded, stored
from tests.system.faults.sound import assert_files_whole

pytestmark = pytest.mark.fault("two sweeps at once")

MACHINES = """
import fcntl, os, platform, signal, sys, time
from pathlib import Path
fcntl.flock = lambda *_: None

def other(number):
    platform.node = lambda: f"machine-{number}"
    # On another machine our numbers of processes are nobody's.
    os.kill = lambda *_: (_ for _ in ()).throw(ProcessLookupError())

#prelude
from pipeline.storage.store import RunStore
from pipeline.storage.sweep import Ledger, Sweep
from tests.support.factory import seeded
RUNS = sorted((seeded(seed) for seed in range(6)), key=lambda run: run.key)
KEYS = [run.key for run in RUNS]
store = RunStore(Path(sys.argv[1]) / "runs")
kill, pids = os.kill, []

def write(number, until):
    while time.monotonic() < until:
        for run in RUNS[number % 3:][:4]:
            store.write(run)
            store.note_published(run.key, {"run_id": str(number), "store": f"http://machine-{number}"})
        Ledger(store).write(Sweep("shared", KEYS, id="0" * 64))

def read(number, until):
    for key in KEYS:
        while time.monotonic() < until and key not in store:
            pass
    while time.monotonic() < until:
        for key in KEYS:
            assert store.read(key).finished
        assert store.keys() == KEYS
        [sweep] = Ledger(store)
        assert sweep.keys == KEYS

until = time.monotonic() + float(sys.argv[2])
for number, work in enumerate([write] * 6 + [read] * 2):
    if not (pid := os.fork()):
        other(number)
        try:
            work(number, until)
        except BaseException as error:
            import traceback
            traceback.print_exc(file=sys.stdout)
            print(f"{type(error).__name__}: {error}", flush=True)
            os._exit(1)
        os._exit(0)
    pids.append(pid)
for pid in pids[:2]:
    time.sleep(float(sys.argv[2]) / 3)
    kill(pid, signal.SIGKILL)
wrong = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids][2:]
sys.exit(any(wrong))
"""


SLOWLY = """
rename = os.rename
os.rename = lambda old, new: (rename(old, new), str(new).endswith(".old") and time.sleep(0.005))
"""
"""Between the two steps in which a folder is replaced, there is time for everything."""


def share(folder: Path, seconds: float, prelude: str = "") -> None:
    words = [sys.executable, "-c", MACHINES.replace("#prelude", prelude), str(folder), str(seconds)]
    done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.long
def test_eight_machines_lose_nothing_and_leave_nothing_half(tmp_path: Path, rounds: int) -> None:
    share(tmp_path, 1.5 * rounds, SLOWLY)
    assert_files_whole(tmp_path)
    store = RunStore(tmp_path / "runs")
    assert store.keys() == sorted(seeded(seed).key for seed in range(6))
    assert [one.status for one in store] == [FINISHED] * 6
    left = [path for path in store.root.iterdir() if path.name.startswith(".")]
    assert len(left) <= 2 * 2, "what the two that were killed had in their hands, and no more"
    for path in left:
        os.utime(path, (0, 0))
    store.write(stored())
    assert [path for path in store.root.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF])
def test_a_drive_without_locks_is_said_to_be_one_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    store = RunStore(tmp_path / "runs")
    for _ in range(2):
        store.write(stored())
    assert store.read(KEY).finished
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"warning: {tmp_path}/runs: this drive has no locks ({os.strerror(number)}); results stay whole"
    )


def test_a_run_whose_writer_died_between_its_two_steps_is_there(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.write(stored())
    for look in (lambda: store.read(KEY).finished, lambda: store.keys() == [KEY], lambda: KEY in store):
        store.folder(KEY).rename(tmp_path / f".{KEY}.old")
        assert look()
    store.folder(KEY).rename(tmp_path / f".{KEY}.old")
    store.write(stored())
    assert [path.name for path in tmp_path.iterdir()] == [KEY]


@pytest.mark.parametrize(("days", "stays"), [(0.5, True), (2, False)])
def test_what_another_machine_is_writing_stays_for_a_day(tmp_path: Path, days: float, stays: bool) -> None:
    theirs = tmp_path / f".{KEY}.0-999999999@elsewhere.part"
    theirs.mkdir()
    then = time.time() - days * 86_400
    os.utime(theirs, (then, then))
    RunStore(tmp_path).write(stored())
    assert theirs.exists() == stays


def test_what_a_dead_process_of_this_machine_was_writing_goes(tmp_path: Path) -> None:
    ours = tmp_path / f".{KEY}.0-999999999@{shared._host()}.part"
    ours.mkdir()
    RunStore(tmp_path).write(stored())
    assert not ours.exists()
