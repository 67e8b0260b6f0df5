"""What a run hands back: finished, diverged or failed; its curve, its gaps, its best epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pipeline.data.arrays import Arrays, Split, split
from pipeline.training import engine, reference, trainer
from pipeline.training.outcome import Run
from pipeline.training.result import DIVERGED, FAILED, FINISHED, RunResult
from tests.support.factory import make_job
from tests.unit.training.trainer import cut, device, train

TRAINERS = ("engine", "reference")


@pytest.fixture(scope="module")
def data(digits: Arrays) -> Split:
    return cut(digits, 237)


@pytest.fixture(scope="module", params=TRAINERS)
def finished(request: pytest.FixtureRequest, data: Split) -> RunResult:
    job = make_job("adam", epochs=3, width=16, curve_samples=50, dropout=0.2)
    return train([job], data, device(xla=False, trainer=request.param))[0]


def test_the_history_has_a_value_for_every_epoch(finished: RunResult) -> None:
    splits = ("running", "train", "val", "gap")
    assert set(finished.history) == {f"{split}/{what}" for split in splits for what in ("loss", "accuracy")}
    assert {len(values) for values in finished.history.values()} == {3}


def test_the_gap_of_every_epoch_is_training_against_validation(finished: RunResult) -> None:
    h = finished.history
    for epoch in range(3):
        assert h["gap/accuracy"][epoch] == h["train/accuracy"][epoch] - h["val/accuracy"][epoch]
        assert h["gap/loss"][epoch] == h["val/loss"][epoch] - h["train/loss"][epoch]


def test_the_final_gap_is_training_against_test(finished: RunResult) -> None:
    f = finished.figures
    assert f["overfitting_gap/accuracy"] == f["train/accuracy"] - f["test/accuracy"]
    assert f["overfitting_gap/loss"] == f["test/loss"] - f["train/loss"]


def test_the_last_point_of_the_curve_is_on_all_samples(finished: RunResult) -> None:
    for name in ("train/loss", "train/accuracy", "val/loss", "val/accuracy"):
        assert finished.history[name][-1] == finished.figures[name]


def test_the_best_epoch_is_the_first_of_the_best(finished: RunResult) -> None:
    accuracies = finished.history["val/accuracy"]
    best = int(finished.figures["best/epoch"])
    assert finished.figures["best/val_accuracy"] == max(accuracies) == accuracies[best - 1]
    assert max(accuracies) not in accuracies[: best - 1]


def test_the_predictions_are_those_of_the_accuracy(finished: RunResult, data: Split) -> None:
    assert finished.predictions is not None
    assert finished.predictions.dtype == np.uint8
    assert (finished.predictions == data.test_labels).mean() == pytest.approx(finished.figures["test/accuracy"])


def test_the_probabilities_are_those_of_the_predictions(finished: RunResult) -> None:
    assert finished.probabilities is not None
    assert finished.predictions is not None
    assert np.array_equal(finished.probabilities.argmax(1), finished.predictions)
    assert finished.probabilities.sum(1) == pytest.approx(1, abs=1e-5)


@pytest.fixture(scope="module", params=TRAINERS)
def without_validation(request: pytest.FixtureRequest, digits: Arrays) -> RunResult:
    return train([make_job(epochs=2)], split(digits, 0), device(xla=False, trainer=request.param))[0]


def test_without_validation_the_curve_is_against_the_test_split(without_validation: RunResult) -> None:
    assert without_validation.history["test/loss"][-1] == without_validation.figures["test/loss"]
    assert not [name for name in without_validation.history if name.startswith("val/")]


def test_and_nothing_is_chosen_on_it(without_validation: RunResult) -> None:
    assert not [name for name in without_validation.figures if name.startswith(("best/", "val/"))]


# --- runs that do not finish


PAIRS = [(0.01, 0.01), (1000, 1000), (0.02, 0.02)]
"""Learning rate and weight decay: the second takes a million times the weights from the weights."""
UNLUCKY = [make_job(learning_rate=rate, weight_decay=decay, batch_size=10, epochs=2) for rate, decay in PAIRS]


@pytest.fixture(scope="module")
def unlucky(data: Split) -> list[RunResult]:
    """By one program, one after the other."""
    return train(UNLUCKY, data, device(xla=False, workers=1))


@pytest.mark.fault("NaN and infinity")
def test_a_run_whose_loss_is_no_number_diverged(unlucky: list[RunResult]) -> None:
    assert unlucky[1].status == DIVERGED
    assert unlucky[1].reason == "running/loss is nan after epoch 1"


def test_it_stops_there_and_keeps_its_curve(unlucky: list[RunResult]) -> None:
    assert {len(values) for values in unlucky[1].history.values()} == {1}
    assert set(unlucky[1].figures) == {"time/train_s"}
    assert (unlucky[1].predictions, unlucky[1].weights) == (None, None)


@pytest.mark.fault("NaN and infinity")
def test_the_runs_beside_it_finish(unlucky: list[RunResult]) -> None:
    assert [result.status for result in unlucky] == [FINISHED, DIVERGED, FINISHED]


def test_the_reference_says_the_same(unlucky: list[RunResult], data: Split) -> None:
    [diverged] = train([UNLUCKY[1]], data, device(trainer="reference"))
    assert (diverged.status, diverged.reason) == (DIVERGED, unlucky[1].reason)


@pytest.mark.fault("out of memory")
@pytest.mark.parametrize("kind", TRAINERS)
def test_a_failed_run_says_why_and_the_others_finish(data: Split, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    room: Any = {"engine": engine, "reference": reference}[kind]
    train_one = room._train_one

    def fragile(run: Run, *rest: Any) -> Iterator[trainer.Event] | None:
        if run.job.seed == 1:
            raise RuntimeError("no luck today\nand a second line")
        return train_one(run, *rest)

    monkeypatch.setattr(room, "_train_one", fragile)
    jobs = [make_job(seed=seed) for seed in range(3)]
    events = list(trainer.train(jobs, data, 10, device(xla=False, trainer=kind)))
    done = {event.index: event for event in events if isinstance(event, trainer.Done)}
    assert [done[index].result.status for index in range(3)] == [FINISHED, FAILED, FINISHED]
    assert done[1].result.reason == "RuntimeError: no luck today"
    assert isinstance(done[1].error, RuntimeError)
    assert done[0].error is done[2].error is None


# --- the arithmetic, without training


def run(job_changes: dict[str, Any] | None = None) -> Run:
    return Run(0, make_job(**(job_changes or {})), "val")


@pytest.mark.fault("NaN and infinity")
@pytest.mark.parametrize("name", ["running/loss", "train/loss", "val/loss"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_the_first_loss_that_is_no_number_is_named(name: str, value: float) -> None:
    own = run()
    own.add_epoch(own.metrics_of([1, 0, 1, 0, 1, 0]))
    assert own.non_finite is None
    own.add_epoch(own.metrics_of([1, 0, 1, 0, 1, 0]) | {name: value})
    assert own.non_finite == f"{name} is {value} after epoch 2"
