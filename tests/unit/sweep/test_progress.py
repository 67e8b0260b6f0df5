"""Progress output during training: a bar on a terminal, plain lines elsewhere, and the time left."""

from typing import Any

import pytest

from pipeline.sweep import progress
from pipeline.sweep.plan import PlannedRun
from pipeline.sweep.progress import Progress, summary
from pipeline.training.outcome import Epoch
from pipeline.training.result import DIVERGED, FINISHED, RunResult
from tests.support.factory import make_job
from tests.unit.data import tiny
from tests.unit.training.trainer import device

POINT = {"running/loss": 0.25, "train/accuracy": 0.9, "val/accuracy": 0.8, "gap/accuracy": 0.1}
METRICS = {"val/accuracy": 0.8, "test/accuracy": 0.75, "overfitting_gap/accuracy": 0.15, "time/train_s": 1.25}


def planned(count: int, **changes: Any) -> list[PlannedRun]:
    """Return `count` runs that differ only in their seed."""
    jobs = [make_job(seed=seed, **{"epochs": 2, "validation_size": 2} | changes) for seed in range(count)]
    return [PlannedRun(job, device(), tiny.arrays(), f"{job.seed:064}", {}, []) for job in jobs]


def result(run: PlannedRun, epochs: int = 2, **changes: Any) -> RunResult:
    values = {"status": FINISHED, "metrics": METRICS | {"time/epochs": epochs}} | changes
    return RunResult(key=run.key, job=run.job, **values)


def shown(runs: list[PlannedRun]) -> Progress:
    progress = Progress(len(runs))
    progress.add(runs)
    progress.begin()
    return progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Replace `time.monotonic` by the value in the returned list, which tests change."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_finished_run_in_one_line() -> None:
    assert (
        summary(result(*planned(1)), "sgd-w8-d1-s0")
        == "sgd-w8-d1-s0: validation 80.00 %, test 75.00 %, gap 15.00 points, 1.2 s"
    )
    metrics = {"test/accuracy": 0.75, "overfitting_gap/accuracy": -0.015, "time/train_s": 0.0}
    assert (
        summary(result(*planned(1), metrics=metrics), "sgd-w8-d1-s0")
        == "sgd-w8-d1-s0: test 75.00 %, gap -1.50 points, 0.0 s"
    )


def test_a_sweep_without_a_terminal_has_a_line_for_every_run(
    capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    runs = planned(2)
    progress = shown(runs)
    for run in runs:
        for epoch in (1, 2):
            clock[0] += 5
            progress.epoch(run, Epoch(0, epoch, POINT))
        progress.done(run, result(run))
    begin, first, last = capsys.readouterr().out.splitlines()
    assert begin == "loading libraries and compiling; then a line for each run"
    assert first == "[1/2] sgd-w8-d1-s0: validation 80.00 %, test 75.00 %, gap 15.00 points, 1.2 s, 10 s left"
    assert last == "[2/2] sgd-w8-d1-s1: validation 80.00 %, test 75.00 %, gap 15.00 points, 1.2 s"


def test_the_time_left_counts_from_where_training_began(clock: list[float]) -> None:
    runs = planned(5)
    progress = shown(runs)
    clock[0] += 60  # while libraries load
    progress.begin()
    assert progress.left == ""
    clock[0] += 10
    progress.epoch(runs[0], Epoch(0, 1, POINT))
    assert progress.left == "90 s left"


def test_a_run_that_ends_early_gives_its_epochs_back(clock: list[float]) -> None:
    runs = planned(2, epochs=10)
    progress = shown(runs)
    clock[0] += 10
    progress.done(runs[0], result(runs[0], 1, status=DIVERGED, reason="loss is nan"))
    assert progress.left == "1:40 min left"


def test_runs_that_stop_at_a_loss_are_expected_to_need_what_others_of_their_configuration_needed(
    clock: list[float],
) -> None:
    runs = planned(4, epochs=200, stop_at_loss=0.01)
    progress = shown(runs)
    clock[0] += 10
    progress.epoch(runs[0], Epoch(0, 10, POINT))
    assert progress.left == "at most 13:10 min left"
    progress.done(runs[0], result(runs[0], 10))
    assert progress.left == "30 s left"


def test_a_bar_has_the_time_left_the_run_its_epoch_and_its_accuracy(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shows: list[tuple[Any, ...]] = []
    monkeypatch.setattr(progress.terminal, "show", lambda *words: shows.append(words))
    monkeypatch.setattr(progress.sys.stdout, "isatty", lambda: True)
    first, second = runs = planned(2)
    made = shown(runs)
    clock[0] += 5
    made.epoch(first, Epoch(0, 1, POINT))
    made.done(first, result(first))
    made.done(second, result(second, status="diverged", reason="[red]nan[/red]"))
    texts = [(what, round(done / total, 2), count) for what, done, total, count in shows[1:]]
    assert texts == [
        ("15 s left  sgd-w8-d1-s0, epoch 1/2, validation 80.00 %", 0.25, "0/2 runs"),
        ("5 s left  sgd-w8-d1-s0", 0.5, "1/2 runs"),
        ("sgd-w8-d1-s1", 1.0, "2/2 runs"),
    ]
    assert capsys.readouterr().out == "sgd-w8-d1-s1 diverged: [red]nan[/red]\n", "a lost run has a line above the bar"
