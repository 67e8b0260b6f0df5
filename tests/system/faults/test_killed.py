"""SIGKILL, SIGTERM and Ctrl-C, at random moments, to real processes."""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import yaml

from pipeline.cli.console import PROJECT
from pipeline.cli.signals import Stopped
from pipeline.sweep.outcome import Outcome
from pipeline.sweep.session import Session
from pipeline.training.result import FINISHED
from tests.support import factory
from tests.system.faults.sound import assert_no_orphans, assert_sound
from tests.system.faults.workspace import SMALL, Workspace, last_line

KILLED = pytest.mark.fault("SIGKILL")
ORPHANED = pytest.mark.fault("SIGKILL of dvc alone")
SIGNALLED = pytest.mark.fault("SIGTERM and Ctrl-C")

PATIENCE = 10.0
"""Seconds that a test waits for the end of a process."""


def kill_again_and_again(stage: str, root: Path, seed: int, rounds: int) -> None:
    words = [sys.executable, "-m", "tests.system.faults.forked", stage, str(root), str(seed), str(rounds)]
    done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stderr


@KILLED
def test_a_killed_preprocess_leaves_the_old_or_the_new(
    tmp_path: Path, processed: Path, chance: random.Random, rounds: int
) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "digits").symlink_to(processed.parent / "raw")
    kill_again_and_again("preprocess", tmp_path, chance.getrandbits(32), 4 * rounds)
    assert_no_orphans(tmp_path)


@KILLED
@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("stage", ["fetch", "compare"])
def test_a_killed_stage_leaves_the_old_or_the_new(
    tmp_path: Path, chance: random.Random, rounds: int, stage: str
) -> None:
    if stage == "compare":
        runs, winner = factory.sweep_runs()
        factory.write_experiment(tmp_path / "results/sweep", runs, winner)
        factory.write_data(tmp_path / "processed")
    kill_again_and_again(stage, tmp_path, chance.getrandbits(32), 2 * rounds)
    assert_no_orphans(tmp_path)


LONGER = ["-m", "optimizer=sgd", "model.width=8", "seed=range(8)", "training.epochs=40"]


@KILLED
@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_killed_sweep_with_mlflow_is_made_good(workspace: Workspace, chance: random.Random, rounds: int) -> None:
    """Killed at random moments until the sweep is through, then given once more; MLflow on."""
    for number in range(max(3, rounds)):
        process, after = workspace.start(*LONGER), chance.uniform(0, 12)
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        print(f"kill {number + 1} after {after:.2f} s: {process.returncode}")
        assert_sound(workspace, ended=False)
    done = workspace.tracked(*LONGER)
    assert (done.status, done.err) == (0, "")
    assert [run.status for run in workspace.runs] == [FINISHED] * 8
    assert_sound(workspace)


# --- dvc's own end

STAGE = """
import os, sys, time
from pathlib import Path
from pipeline.cli import console

def main(argv):
    try:
        Path("at work").write_text(str(os.getpid()))
        time.sleep(60)
    finally:
        Path("tidied up").touch()

console.run(main, [])
"""


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Path]:
    """A stage that works for a minute, under DVC."""
    (tmp_path / "stage.py").write_text(STAGE)
    command = f"{shlex.quote(sys.executable)} stage.py"
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"long": {"cmd": command, "outs": ["out"]}}}))
    dvc("init", "--no-scm", "--quiet", folder=tmp_path).wait()
    yield tmp_path
    if (tmp_path / "at work").exists():
        with suppress(ProcessLookupError):
            os.kill(int((tmp_path / "at work").read_text()), signal.SIGKILL)


def dvc(*words: str, folder: Path, shell: str = "/bin/sh") -> subprocess.Popen[bytes]:
    program = Path(sys.executable).with_name("dvc")
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "SHELL": shell, "DVC_NO_ANALYTICS": "1"}
    quiet = subprocess.DEVNULL
    return subprocess.Popen([str(program), *words], cwd=folder, env=environment, stdout=quiet, stderr=quiet)


def waited_for(path: Path, seconds: float = 60) -> Path:
    until = time.monotonic() + seconds
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < until, path
        time.sleep(0.02)
    return path


@ORPHANED
@pytest.mark.parametrize("shell", ["/bin/sh", pytest.param("/bin/bash", marks=pytest.mark.long)])
def test_a_stage_ends_with_its_dvc(repository: Path, shell: str) -> None:
    parent = dvc("repro", folder=repository, shell=shell)
    stage = int(waited_for(repository / "at work").read_text())
    parent.kill()
    parent.wait()
    if psutil.pid_exists(stage):
        psutil.Process(stage).wait(timeout=5)
    assert (repository / "tidied up").exists(), "it ended as by SIGTERM"


# --- SIGTERM, Ctrl-C


@SIGNALLED
@pytest.mark.usefixtures("keras")
def test_a_run_that_is_on_disk_when_the_signal_comes_is_published(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Session._store

    def stored(session: Session, outcome: Outcome) -> Outcome:
        store(session, outcome)
        raise Stopped(signal.SIGTERM)

    monkeypatch.setattr(Session, "_store", stored)
    assert workspace.tracked(*SMALL).status == 143
    assert len(workspace.store.keys()) == 1
    assert workspace.statuses() == {"KILLED": 1, "FINISHED": 1}


# Python says nothing of it unless asked to: a signal may come while git is asked for the commit.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@SIGNALLED
@pytest.mark.usefixtures("keras")
def test_sigterm_ends_with_143_and_marks_the_sweep_killed(workspace: Workspace) -> None:
    """This very process gets the signal while runs train, after the first that finishes."""

    def send() -> None:
        until = time.monotonic() + 60
        while len(workspace.store.keys()) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=send)
    thread.start()
    done = workspace.tracked(*SMALL, "seed=range(40)", "training.epochs=20")
    thread.join()
    assert done.status == 143, done.err
    assert last_line(done.err).endswith("what was finished is kept, the same command does the rest")
    finished = workspace.store.keys()
    assert 2 <= len(finished) < 40
    assert_sound(workspace)
    assert workspace.statuses() == {"KILLED": 1, "FINISHED": len(finished)}


TWICE = """
import sys, time
from pipeline.cli import console

def main(argv):
    try:
        print("at work", flush=True)
        time.sleep(60)
    finally:
        print("tidying up", flush=True)
        time.sleep(60)

console.run(main, [])
"""


@contextmanager
def script(code: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", code, *words]
    with subprocess.Popen(command, cwd=PROJECT, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@SIGNALLED
@pytest.mark.parametrize(("first", "second"), [("SIGINT", "SIGINT"), ("SIGTERM", "SIGINT")])
def test_the_second_time_is_immediate(first: str, second: str) -> None:
    with script(TWICE) as process:
        assert said(process) == "at work\n"
        process.send_signal(signal.Signals[first])
        assert said(process) == "tidying up\n"
        started = time.monotonic()
        process.send_signal(signal.Signals[second])
        _, err = process.communicate(timeout=PATIENCE)
    assert time.monotonic() - started < 1
    assert (process.returncode, err) == (128 + signal.Signals[second], "stopped at once\n")


IGNORED = """
import time
from pipeline.cli import console

class Deaf:
    def __del__(self):
        print("at work", flush=True)
        time.sleep(0.3)

def half_done():
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        raise ValueError("found half done") from None

def main(argv):
    if argv:
        print("at work", flush=True)
        half_done()
    Deaf()
    time.sleep(60)

console.run(main)
"""


@SIGNALLED
@pytest.mark.parametrize("words", [[], ["half done"]], ids=["in a destructor", "in a library"])
def test_a_signal_is_heeded_wherever_it_comes(words: list[str]) -> None:
    """Python ignores errors in destructors and callbacks, an interrupt among them; a library may make another of it."""
    with script(IGNORED, *words) as process:
        assert said(process) == "at work\n"
        process.terminate()
        _, err = process.communicate(timeout=PATIENCE)
    expected = "stopped (SIGTERM); what was finished is kept, the same command does the rest\n"
    assert (process.returncode, err) == (143, expected)


@SIGNALLED
@pytest.mark.long
@pytest.mark.timeout(900)
def test_signals_at_random_moments(workspace: Workspace, chance: random.Random, rounds: int) -> None:
    """Once or twice, while it starts, trains or ends; then the same command goes on to the end."""
    for number in range(max(2, rounds // 2)):
        process, after = workspace.start(*LONGER), chance.uniform(1, 12)
        which, twice = chance.choice([signal.SIGINT, signal.SIGTERM]), chance.random() < 0.5
        started = time.monotonic()
        while time.monotonic() - started < after and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(which)
        if twice:
            time.sleep(chance.uniform(0, 0.3))
            process.send_signal(which)
        _, err = process.communicate(timeout=60)
        print(f"{which.name} {number + 1} after {after:.2f} s, {'twice' if twice else 'once'}: {process.returncode}")
        assert process.returncode in (0, 128 + which)
        if process.returncode:
            assert last_line(err).startswith(("stopped (", "stopped at once"))
        assert_sound(workspace, ended=False)
    assert workspace.tracked(*LONGER).status == 0
    assert_sound(workspace)
    assert workspace.statuses() == {"FINISHED": 9}
