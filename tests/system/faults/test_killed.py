"""SIGKILL, SIGTERM and Ctrl-C on real processes. tests/commands/test_train.py has a killed `train` without MLflow."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from pipeline.cli.console import PROJECT
from pipeline.cli.signals import Stopped
from pipeline.sweep import session
from pipeline.sweep.outcome import Outcome
from pipeline.training.result import FINISHED
from tests.support import factory
from tests.system.faults.sound import assert_no_orphans, assert_sound
from tests.system.faults.workspace import SMALL, Workspace

KILLED = pytest.mark.fault("SIGKILL")
SIGNALLED = pytest.mark.fault("SIGTERM and Ctrl-C")


@KILLED
@pytest.mark.parametrize("stage", ["fetch", "preprocess", pytest.param("compare", marks=pytest.mark.slow)])
def test_a_killed_stage_leaves_the_old_or_the_new(tmp_path: Path, processed: Path, stage: str) -> None:
    if stage == "preprocess":
        (tmp_path / "raw").mkdir()
        (tmp_path / "raw" / "digits").symlink_to(processed.parent / "raw")
    if stage == "compare":
        factory.write_experiment(tmp_path / "results/sweep", factory.book_runs())
        factory.write_data(tmp_path / "processed")
    words = [sys.executable, "-m", "tests.system.faults.forked", stage, str(tmp_path)]
    done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_no_orphans(tmp_path)


KILLED_WHILE_IT_PUBLISHES = """
import os, signal
from pipeline import train
from pipeline.cli import console
from pipeline.tracking.tracker import Tracker

published, publish = [], Tracker.publish

def killed(*words, **named):
    published.append(publish(*words, **named))
    if len(published) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return published[-1]

Tracker.publish = killed
console.run(train.main)
"""


@KILLED
@pytest.mark.slow
@pytest.mark.usefixtures("keras")
def test_a_killed_sweep_with_mlflow_is_made_good(workspace: Workspace) -> None:
    """The sweep is killed after MLflow has a run and before the run's folder records that."""
    killed = workspace.start(*SMALL, program=("-c", KILLED_WHILE_IT_PUBLISHES))
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert_sound(workspace, ended=False)
    done = workspace.tracked(*SMALL)
    assert (done.status, done.err) == (0, "")
    assert [run.status for run in workspace.runs] == [FINISHED] * 3
    assert_sound(workspace)


# --- the death of dvc

STAGE = """
import os, time
from pathlib import Path
from pipeline.cli import console

def main(argv):
    try:
        Path("at work").write_text(str(os.getpid()))
        time.sleep(600)
    finally:
        Path("tidied up").touch()

console.run(main, [])
"""


@pytest.mark.fault("SIGKILL of dvc alone")
def test_a_stage_ends_with_its_dvc(tmp_path: Path) -> None:
    (tmp_path / "stage.py").write_text(STAGE)
    command = f"{shlex.quote(sys.executable)} stage.py"
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"long": {"cmd": command, "outs": ["out"]}}}))
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "SHELL": "/bin/sh", "DVC_NO_ANALYTICS": "1"}
    program = str(Path(sys.executable).with_name("dvc"))
    subprocess.run([program, "init", "--no-scm", "--quiet"], cwd=tmp_path, env=environment, check=True)
    parent = subprocess.Popen([program, "repro", "--quiet"], cwd=tmp_path, env=environment)
    at_work = tmp_path / "at work"
    while not (at_work.exists() and at_work.read_text()):
        assert parent.poll() is None
        time.sleep(0.02)
    stage = psutil.Process(int(at_work.read_text()))
    try:
        parent.kill()
        parent.wait()
        stage.wait(timeout=60)
        assert (tmp_path / "tidied up").exists(), "it ended as by SIGTERM"
    finally:
        if stage.is_running():
            stage.kill()


# --- SIGTERM, Ctrl-C


@SIGNALLED
@pytest.mark.usefixtures("formula")
def test_a_run_that_is_on_disk_when_the_signal_comes_is_published(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = session.store_result

    def stored(outcome: Outcome, *others: Any) -> Outcome:
        store(outcome, *others)
        raise Stopped(signal.SIGTERM)

    monkeypatch.setattr(session, "store_result", stored)
    assert workspace.tracked(*SMALL).status == 143
    assert len(workspace.store.keys()) == 1
    assert workspace.statuses() == {"KILLED": 1, "FINISHED": 1}
    assert_sound(workspace)


SCRIPT = """
import sys, time
from pipeline.cli import console

def ready():
    print("ready", flush=True)
    time.sleep(600)

class Deaf:
    def __del__(self):
        print("ready", flush=True)
        time.sleep(0.3)

def in_a_destructor():
    Deaf()
    time.sleep(600)

def in_a_library():
    try:
        ready()
    except KeyboardInterrupt:
        raise ValueError("found half done") from None

def twice():
    try:
        ready()
    finally:
        ready()

console.run(lambda argv: globals()[sys.argv[1]](), [])
"""


@contextmanager
def script(what: str) -> Iterator[subprocess.Popen[str]]:
    """Start one function of SCRIPT, wait until it is ready, and kill it at the end."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", SCRIPT, what]
    with subprocess.Popen(command, cwd=PROJECT, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            ready(process)
            yield process
        finally:
            process.kill()


def ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout.readline() == "ready\n"


@SIGNALLED
@pytest.mark.parametrize(("first", "second"), [("SIGINT", "SIGINT"), ("SIGTERM", "SIGINT")])
def test_the_second_time_is_immediate(first: str, second: str) -> None:
    with script("twice") as process:
        process.send_signal(signal.Signals[first])
        ready(process)
        process.send_signal(signal.Signals[second])
        _, err = process.communicate()
    assert (process.returncode, err) == (128 + signal.Signals[second], "stopped at once\n")


@SIGNALLED
@pytest.mark.parametrize("where", ["in_a_destructor", "in_a_library"])
def test_a_signal_is_heeded_wherever_it_comes(where: str) -> None:
    """Python ignores exceptions, even interrupts, in destructors and callbacks; a library may replace interrupts."""
    with script(where) as process:
        process.terminate()
        _, err = process.communicate()
    expected = "stopped (SIGTERM); what is finished is kept, and the same command does the rest\n"
    assert (process.returncode, err) == (143, expected)
