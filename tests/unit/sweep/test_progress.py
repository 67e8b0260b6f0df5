"""What a person sees while runs train: a bar on a terminal, plain lines elsewhere, the time left."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
from typing import Any

import pytest

from pipeline.cli.console import PROJECT
from pipeline.config.run_config import RunConfig
from pipeline.sweep import progress
from pipeline.sweep.messages import summary
from pipeline.sweep.progress import Progress
from pipeline.training.result import DIVERGED, FAILED, FINISHED, RunResult
from tests.support.factory import make_job

METRICS = {"running/loss": 0.25, "train/accuracy": 0.9, "val/accuracy": 0.8, "gap/accuracy": 0.1}


def result(job: RunConfig | None = None, **changes: Any) -> RunResult:
    figures = {"val/accuracy": 0.8, "test/accuracy": 0.75, "overfitting_gap/accuracy": 0.15, "time/train_s": 1.25}
    values = {"status": FINISHED, "figures": figures, "history": {"train/loss": [1.0, 0.5]}} | changes
    return RunResult(key="", job=job or make_job(epochs=2), **values)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, as the tests set it."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_finished_run_in_one_line() -> None:
    assert summary(result()) == "sgd-w8-d1-s0: validation 80.00 %, test 75.00 %, gap 15.00 points, 1.2 s"


def test_without_validation_it_names_the_test_only() -> None:
    figures = {"test/accuracy": 0.75, "overfitting_gap/accuracy": -0.015, "time/train_s": 0.0}
    assert summary(result(figures=figures)) == "sgd-w8-d1-s0: test 75.00 %, gap -1.50 points, 0.0 s"


@pytest.mark.parametrize("status", [DIVERGED, FAILED])
def test_a_lost_run_says_why(status: str) -> None:
    assert summary(result(status=status, reason="loss is nan", figures={})) == f"sgd-w8-d1-s0 {status}: loss is nan"


def test_a_single_run_shows_every_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    job = make_job(epochs=2)
    with Progress([job]) as shown:
        shown.epoch(job, 1, METRICS)
        shown.done(result(job))
    assert capsys.readouterr().out == "epoch 1/2  loss 0.2500  training 90.00 %  validation 80.00 %  gap 10.00 points\n"


def test_a_sweep_without_a_terminal_has_a_line_for_every_run(
    capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    jobs = [make_job(epochs=2, seed=seed) for seed in range(2)]
    with Progress(jobs) as shown:
        for job in jobs:
            for epoch in (1, 2):
                clock[0] += 5
                shown.epoch(job, epoch, METRICS)
            shown.done(result(job))
    begin, first, last = capsys.readouterr().out.splitlines()
    assert begin == "loading libraries and compiling; then a line for each run"
    assert first == "[1/2] sgd-w8-d1-s0: validation 80.00 %, test 75.00 %, gap 15.00 points, 1.2 s, 10 s left"
    assert last == "[2/2] sgd-w8-d1-s1: validation 80.00 %, test 75.00 %, gap 15.00 points, 1.2 s"


def test_the_time_left_counts_from_where_training_began(clock: list[float]) -> None:
    jobs = [make_job(epochs=2, seed=seed) for seed in range(5)]
    shown = Progress(jobs)
    clock[0] += 60  # libraries load
    shown.begin()
    assert shown.left == ""
    clock[0] += 10
    shown.epoch(jobs[0], 1, METRICS)
    assert shown.left == "90 s left"


def test_a_run_that_ends_early_gives_its_epochs_back(clock: list[float]) -> None:
    jobs = [make_job(epochs=10, seed=seed) for seed in range(2)]
    shown = Progress(jobs)
    clock[0] += 10
    shown.epoch(jobs[0], 1, METRICS)
    shown.done(result(jobs[0], status=DIVERGED, reason="loss is nan", history={"train/loss": [9.9]}))
    assert shown.left == "1:40 min left"


SCRIPT = """
from pipeline.sweep.progress import Progress
from tests.unit.sweep.test_progress import METRICS, make_job, result
jobs = [make_job(epochs=2, seed=seed) for seed in range(2)]
with Progress(jobs) as shown:
    for job in jobs:
        shown.epoch(job, 1, METRICS)
        shown.epoch(job, 2, METRICS)
        shown.bar.refresh()
        lost = job.seed == 1
        shown.done(result(job, status="diverged", reason="[red]nan[/red]") if lost else result(job))
print("over")
"""


@pytest.fixture
def terminal() -> str:
    """What two runs write to a real terminal, 200 columns wide."""
    main, side = pty.openpty()
    said: list[bytes] = []

    def read() -> None:
        while True:
            try:
                chunk = os.read(main, 4096)
            except OSError:  # the other side is closed
                return
            if not chunk:
                return
            said.append(chunk)

    reader = threading.Thread(target=read)
    environment = dict(os.environ, COLUMNS="200", LINES="40", TERM="xterm")
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=PROJECT, stdout=side, stderr=side, env=environment)
    os.close(side)
    reader.start()
    assert process.wait(timeout=60) == 0
    reader.join(timeout=10)
    os.close(main)
    return b"".join(said).decode()


def test_a_bar_names_the_run_its_epoch_its_accuracy_and_the_time_left_and_goes_away(terminal: str) -> None:
    for word in ("0/2 runs", "1/2 runs", "sgd-w8-d1-s0 epoch 2/2, validation 80.00 %, ", " left"):
        assert word in terminal
    assert "sgd-w8-d1-s1 diverged: [red]nan[/red]" in terminal, "a lost run stands above it"
    assert terminal.rstrip().endswith("over")
    assert "\x1b[2K" in terminal
