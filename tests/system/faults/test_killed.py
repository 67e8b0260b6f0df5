"""SIGKILL, SIGTERM and Ctrl-C, at random moments, to real processes."""

from __future__ import annotations

import os
import random
import resource
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml

from pipeline.cli.console import PROJECT, Stopped
from pipeline.sweep.batch import Session
from pipeline.training.result import FINISHED, Result
from tests.system.faults.sound import assert_no_orphans, assert_sound
from tests.system.faults.workspace import SMALL, Workspace, last_line
from tests.unit.report import factory
from tests.unit.training.trainer import bits

KILLED = pytest.mark.fault("SIGKILL")
ORPHANED = pytest.mark.fault("SIGKILL of dvc alone")
SIGNALLED = pytest.mark.fault("SIGTERM and Ctrl-C")

PATIENCE = 10.0
"""Seconds that a test waits for the end of a process."""


def kill_again_and_again(stage: str, root: Path, seed: int, rounds: int) -> str:
    words = [sys.executable, "-m", "tests.system.faults.forked", stage, str(root), str(seed), str(rounds)]
    done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    return done.stdout


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


CALM = ["-m", "optimizer=sgd", "model.width=64", "seed=range(16)", "training.epochs=500"]


@KILLED
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_killed_sweep_takes_half_as_long_again_at_most(
    tmp_path: Path, processed: Path, chance: random.Random, rounds: int
) -> None:
    """Killed once, anywhere, and started again: within 1.5 times what it takes undisturbed, with the same table.

    By processor time, which other work on the machine does not change by as much; where there is none, by the clock too.
    """

    def sweep(workspace: Workspace, after: float | None = None) -> tuple[float, float]:
        begin, process = spent(), workspace.start(*CALM)
        if after is not None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(after)
            process.kill()
            process.communicate()
            process = workspace.start(*CALM)
        _, err = process.communicate()
        assert (process.returncode, err) == (0, "")
        return spent()[0] - begin[0], spent()[1] - begin[1]

    def spent() -> tuple[float, float]:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.monotonic(), used.ru_utime + used.ru_stime

    def place(name: str) -> Workspace:
        (tmp_path / name).mkdir()
        return Workspace(tmp_path / name, processed)

    alone = os.getloadavg()[0] < 1
    sweep(place("first"))  # what a first start keeps for later ones is there from now on
    calm = place("calm")
    undisturbed = sweep(calm)
    for number in range(rounds):
        disturbed, after = place(f"disturbed {number}"), chance.uniform(0, undisturbed[0])
        seconds = sweep(disturbed, after)
        ratios = [one / other for one, other in zip(seconds, undisturbed, strict=True)]
        print(
            f"killed after {after:.1f} of {undisturbed[0]:.1f} s: {ratios[0]:.2f} times the seconds, {ratios[1]:.2f} the work"
        )
        assert ratios[1] < 1.5
        assert ratios[0] < 1.5 or not alone
        assert [bits(run) for run in disturbed.runs] == [bits(run) for run in calm.runs]
        assert_sound(disturbed)


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


def seconds_to_live(pid: int, at_most: float) -> float:
    started = time.monotonic()
    while time.monotonic() - started < at_most:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                break
        except OSError:
            break
        time.sleep(0.05)
    return time.monotonic() - started


@ORPHANED
@pytest.mark.parametrize("shell", ["/bin/sh", pytest.param("/bin/bash", marks=pytest.mark.long)])
def test_a_stage_ends_with_its_dvc(repository: Path, shell: str) -> None:
    parent = dvc("repro", folder=repository, shell=shell)
    stage = int(waited_for(repository / "at work").read_text())
    parent.kill()
    parent.wait()
    assert seconds_to_live(stage, 8) < 5
    assert (repository / "tidied up").exists(), "it ended as by SIGTERM"


def ends_with_its_dvc(folder: Path) -> None:
    """The same without DVC: a shell in its place, in a process group of its own."""
    (folder / "stage.py").write_text(STAGE)
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "DVC_STAGE": "long"}
    line = [sys.executable, "-c", "import subprocess, sys; subprocess.run([sys.executable, 'stage.py'])"]
    parent = subprocess.Popen(line, cwd=folder, env=environment, stderr=subprocess.DEVNULL)
    stage = int(waited_for(folder / "at work").read_text())
    parent.kill()
    parent.wait()
    try:
        assert seconds_to_live(stage, 2) < 1.9
    finally:
        if Path(f"/proc/{stage}").exists():
            os.kill(stage, signal.SIGKILL)


# --- SIGTERM, Ctrl-C


@SIGNALLED
@pytest.mark.usefixtures("keras")
def test_a_run_that_is_on_disk_when_the_signal_comes_is_published(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = Session._keep

    def kept(session: Session, result: Result) -> Result:
        keep(session, result)
        raise Stopped(signal.SIGTERM)

    monkeypatch.setattr(Session, "_keep", kept)
    assert workspace.tracked(*SMALL).status == 143
    assert len(workspace.store.keys()) == 1
    assert statuses(workspace) == {"KILLED": 1, "FINISHED": 1}


def signalled(workspace: Workspace, number: int, status: int) -> None:
    """This very process gets the signal while runs train, after the first that finishes."""
    words = [*SMALL, "seed=range(40)", "training.epochs=20"]

    def send() -> None:
        until = time.monotonic() + 60
        while len(workspace.store.keys()) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    thread.start()
    done = workspace.tracked(*words)
    thread.join()
    assert done.status == status, done.err
    assert last_line(done.err).endswith("what was finished is kept, the same command does the rest")
    finished = workspace.store.keys()
    assert 2 <= len(finished) < 40
    assert_sound(workspace)
    assert statuses(workspace) == {"KILLED": 1, "FINISHED": len(finished)}


def statuses(workspace: Workspace) -> dict[str, int]:
    import sqlite3

    connection = sqlite3.connect(workspace.database)
    try:
        return dict(connection.execute("SELECT status, count(*) FROM runs GROUP BY status").fetchall())
    finally:
        connection.close()


# Python says nothing of it unless asked to: a signal may come while git is asked for the commit.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@SIGNALLED
@pytest.mark.usefixtures("keras")
def test_sigterm_ends_with_143_and_marks_the_sweep_killed(workspace: Workspace) -> None:
    signalled(workspace, signal.SIGTERM, 143)


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


def heeded(*words: str) -> None:
    with script(IGNORED, *words) as process:
        assert said(process) == "at work\n"
        process.terminate()
        _, err = process.communicate(timeout=PATIENCE)
    expected = "stopped (SIGTERM); what was finished is kept, the same command does the rest\n"
    assert (process.returncode, err) == (143, expected)


@SIGNALLED
@pytest.mark.parametrize("words", [[], ["half done"]], ids=["in a destructor", "in a library"])
def test_a_signal_is_heeded_wherever_it_comes(words: list[str]) -> None:
    """Python ignores errors in destructors and callbacks, an interrupt among them; a library may make another of it."""
    heeded(*words)


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
    assert statuses(workspace) == {"FINISHED": 9}
