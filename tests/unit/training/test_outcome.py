"""Results of finished, diverged, failed and pruned runs: the curve, the gaps and the best epoch."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pipeline.cli.errors import UserError
from pipeline.data.arrays import Arrays
from pipeline.training import engine, reference, trainer
from pipeline.training.calibration import calibration_error
from pipeline.training.gaps import final_gaps
from pipeline.training.outcome import Epoch, Run
from pipeline.training.result import DIVERGED, FAILED, FINISHED, PRUNED, RunResult
from pipeline.training.splits import Part, Split, split
from tests.support.factory import make_job
from tests.unit.training.trainer import cut, device, train


@pytest.fixture(scope="module")
def data(digits: Arrays) -> Split:
    return cut(digits, 237)


@pytest.fixture(scope="module")
def finished(data: Split) -> RunResult:
    job = make_job("adam", epochs=5, evaluate_every=2, width=16, curve_samples=50, dropout=0.2)
    return train([job], data, device(xla=False))[0]


def test_the_history_has_a_value_for_every_point_and_the_last_epoch_is_one(finished: RunResult) -> None:
    splits = ("running", "train", "val", "gap")
    assert set(finished.history) == {f"{split}/{what}" for split in splits for what in ("loss", "accuracy")}
    assert finished.epochs == [2, 4, 5]
    assert {len(values) for values in finished.history.values()} == {3}
    assert finished.metrics["time/epochs"] == 5


def test_the_gaps_are_training_against_what_is_held_out(finished: RunResult) -> None:
    """Gaps are positive if a network overfits, and never use the running metrics."""
    h, f = finished.history, finished.metrics
    for point in range(3):
        assert h["gap/accuracy"][point] == h["train/accuracy"][point] - h["val/accuracy"][point]
        assert h["gap/loss"][point] == h["val/loss"][point] - h["train/loss"][point]
    for gap, better, worse in (
        ("overfitting_gap", "train", "val"),
        ("book_gap", "train", "test"),
        ("split_offset", "val", "test"),
    ):
        assert f[f"{gap}/accuracy"] == f[f"{better}/accuracy"] - f[f"{worse}/accuracy"]
        assert f[f"{gap}/loss"] == f[f"{worse}/loss"] - f[f"{better}/loss"]


def test_a_gap_is_positive_where_a_network_overfits_and_against_the_test_samples_with_nothing_held_out() -> None:
    train, val, test = (0.25, 0.75), (0.5, 0.625), (0.75, 0.5)  # loss, accuracy
    gaps = {"overfitting_gap/accuracy": 0.125, "overfitting_gap/loss": 0.25}
    book = {"book_gap/accuracy": 0.25, "book_gap/loss": 0.5}
    assert final_gaps(train, test, val) == {**gaps, **book, "split_offset/accuracy": 0.125, "split_offset/loss": 0.25}
    assert final_gaps(train, test, None) == {"overfitting_gap/accuracy": 0.25, "overfitting_gap/loss": 0.5, **book}


def test_the_curve_is_on_the_same_samples_at_the_last_point_too(finished: RunResult) -> None:
    """The curve uses 50 of the 237 training samples, the final metric all of them."""
    assert {round(50 * share, 6) % 1 for share in finished.history["train/accuracy"]} == {0.0}
    assert round(237 * finished.metrics["train/accuracy"], 3) % 1 == 0
    assert finished.history["train/loss"][-1] != finished.metrics["train/loss"]
    for name in ("val/loss", "val/accuracy"):
        assert finished.history[name][-1] == finished.metrics[name]


def test_the_best_and_the_lowest_point_are_found(finished: RunResult) -> None:
    """If several epochs are equally good, the first counts as the best."""
    losses, accuracies = finished.history["val/loss"], finished.history["val/accuracy"]
    assert finished.metrics["excess/loss"] == losses[-1] - min(losses)
    assert finished.metrics["lowest/epoch"] == finished.epochs[int(np.argmin(losses))]
    place = finished.epochs.index(int(finished.metrics["best/epoch"]))
    assert finished.metrics["best/val_accuracy"] == max(accuracies) == accuracies[place]
    assert max(accuracies) not in accuracies[:place]


def test_predictions_and_probabilities_are_those_of_the_figures(finished: RunResult, data: Split) -> None:
    assert finished.predictions.dtype == np.uint8
    assert (finished.predictions == data.test.labels).mean() == pytest.approx(finished.metrics["test/accuracy"])
    assert np.array_equal(finished.probabilities.argmax(1), finished.predictions)
    assert finished.probabilities.sum(1) == pytest.approx(1, abs=1e-5)
    error = calibration_error(finished.probabilities, data.test.labels)
    assert finished.metrics["test/calibration_error"] == pytest.approx(error, abs=1e-6)


def test_without_validation_the_curve_is_against_the_test_split_and_nothing_is_chosen_on_it(digits: Arrays) -> None:
    job = make_job(epochs=2, validation_size=0)
    whole = split(digits, job.dataset)
    [result] = train([job], whole, device(xla=False))
    assert result.history["test/loss"][-1] == result.metrics["test/loss"]
    assert not [name for name in result.history if name.startswith("val/")]
    assert result.history["gap/loss"][-1] == result.history["test/loss"][-1] - result.history["train/loss"][-1]
    assert result.metrics["overfitting_gap/loss"] == result.metrics["book_gap/loss"]
    assert result.digests["split"] == whole.digest
    assert not [name for name in result.metrics if name.startswith(("best/", "val/", "split_offset/"))]


# --- runs that do not finish


PAIRS = [(0.01, 0.01), (1000, 1000), (0.02, 0.02)]
"""Learning rates and weight decays; the second pair subtracts a million times the weights from the weights."""
UNLUCKY = [make_job(learning_rate=rate, weight_decay=decay, batch_size=10, epochs=2) for rate, decay in PAIRS]


@pytest.mark.fault("NaN and infinity")
def test_a_run_whose_loss_is_no_number_diverged_and_the_runs_beside_it_finish(data: Split) -> None:
    """One program trains them in turn. The diverged run stops and keeps its curve; `fit` gives the same reason."""
    results = train(UNLUCKY, data, device(xla=False, workers=1))
    assert [result.status for result in results] == [FINISHED, DIVERGED, FINISHED]
    diverged = results[1]
    assert diverged.reason == "running/loss is nan after epoch 1"
    assert {len(values) for values in diverged.history.values()} == {1}
    assert set(diverged.metrics) == {"time/train_s", "time/epochs"}
    assert (diverged.predictions, diverged.weights) == (None, None)
    [reference] = train([UNLUCKY[1]], data, device(trainer="reference"))
    assert (reference.status, reference.reason) == (DIVERGED, diverged.reason)


OWN, OTHER = UserError("training.loss=my.half: no module my"), RuntimeError("no luck today\nand a second line")


@pytest.mark.fault("out of memory")
@pytest.mark.parametrize(("kind", "error"), [("engine", OWN), ("reference", OTHER)])
def test_a_failed_run_says_why_and_the_others_finish(
    data: Split, monkeypatch: pytest.MonkeyPatch, kind: str, error: Exception
) -> None:
    room: Any = {"engine": engine, "reference": reference}[kind]
    train_one = room._train_one

    def fragile(run: Run, *rest: Any) -> Iterator[trainer.Event] | None:
        if run.job.seed == 1:
            raise error
        return train_one(run, *rest)

    monkeypatch.setattr(room, "_train_one", fragile)
    jobs = [make_job(seed=seed) for seed in range(3)]
    events = list(trainer.train(jobs, data, 10, device(xla=False, trainer=kind)))
    done = {event.index: event for event in events if isinstance(event, trainer.Done)}
    assert [done[index].result.status for index in range(3)] == [FINISHED, FAILED, FINISHED]
    reason = "training.loss=my.half: no module my" if error is OWN else "RuntimeError: no luck today"
    assert (done[1].result.reason, done[1].error) == (reason, error)
    assert done[0].error is done[2].error is None


@pytest.mark.parametrize("kind", ["engine", "reference"])
def test_a_pruned_run_ends_after_the_point_that_decided_and_keeps_its_curve(data: Split, kind: str) -> None:
    asked = []

    def prune(point: Epoch) -> bool:
        asked.append((point.index, point.epoch))
        return (point.index, point.epoch) == (1, 4)

    jobs = [make_job(seed=seed, epochs=6, evaluate_every=2) for seed in range(2)]
    whole, pruned = train(jobs, data, device(xla=False, trainer=kind), prune=prune)
    assert sorted(asked) == [(0, 2), (0, 4), (1, 2), (1, 4)]  # not after the last epoch: the run is finished
    assert (whole.status, whole.epochs) == (FINISHED, [2, 4, 6])
    assert (pruned.status, pruned.reason) == (PRUNED, "after epoch 4")
    assert (pruned.epochs, len(pruned.history["val/accuracy"])) == ([2, 4], 2)
    assert pruned.metrics.keys() == {"time/train_s", "time/epochs"}
    assert pruned.metrics["time/epochs"] == 4


# --- the arithmetic, without training

NONE = Split(*[Part(np.zeros((2, 1), np.float32), np.array([0, 1], np.uint8))] * 3, held_out_name="val", shape=(1,))


def run(**changes: Any) -> Run:
    return Run(0, make_job(**({"epochs": 9} | changes)), NONE)


@pytest.mark.fault("NaN and infinity")
@pytest.mark.parametrize(("place", "name"), [(0, "running/loss"), (1, "train/loss"), (2, "val/loss")])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_the_first_loss_that_is_no_number_is_named(place: int, name: str, value: float) -> None:
    own = run()
    own.add_epoch([1, 0], [1, 0, 1, 0])
    assert not own.ended
    numbers = [1.0, 0, 1, 0, 1, 0]
    numbers[2 * place] = value
    own.add_epoch(numbers[:2], numbers[2:])
    assert own.ended
    assert own.non_finite == f"{name} is {value} after epoch 2"


@pytest.mark.fault("NaN and infinity")
def test_a_running_loss_that_is_no_number_is_seen_where_the_curve_has_no_point() -> None:
    own = run(evaluate_every=5)
    assert not own.point_is_next
    assert own.add_epoch([math.nan, 0], None) is None
    assert own.ended
    assert own.diverged(own.non_finite or "").metrics["time/epochs"] == 1


@pytest.mark.fault("NaN and infinity")
@pytest.mark.parametrize(("train_loss", "test_loss", "name"), [(math.inf, 1, "train"), (1, math.nan, "test")])
def test_a_last_measurement_that_is_no_number_is_a_divergence(train_loss: float, test_loss: float, name: str) -> None:
    own = run(epochs=1)
    own.add_epoch([1, 0], [1, 0, 1, 0])
    result = own.finished_result([train_loss, 0], [test_loss, 0], np.full((2, 10), 0.1), {})
    assert result.status == DIVERGED
    assert str(result.reason).startswith(f"{name}/loss is ")
