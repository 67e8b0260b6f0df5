"""Curves read at the same training loss."""

import dataclasses
import math

import numpy as np
import pytest

from pipeline.statistics.equal_fit import VALUES, at, at_equal_training_loss, curve, gap_by_training_loss, levels
from tests.support import factory


def run(training_loss, loss=None, accuracy=None, curve_samples=0, split=None, seed=0):
    points = len(training_loss)
    job = factory.job("adam", 8, seed, validation=9)
    job = dataclasses.replace(job, training=dataclasses.replace(job.training, curve_samples=curve_samples))
    history = {
        "train/loss": list(training_loss),
        "train/accuracy": [1 - value / 10 for value in training_loss],
        "val/loss": list(loss or training_loss),
        "val/accuracy": list(accuracy or [0.9] * points),
    }
    return dataclasses.replace(
        factory.finished(job), history=history, epochs=[], digests={"split": split} if split else {}
    )


def read(level, *curves):
    return dict(zip(VALUES, at(curve(run(*curves)), [level])[0], strict=True))


def test_between_two_points_a_value_is_on_the_line_in_the_logarithm_of_the_loss():
    found = read(0.1, [1.0, 0.01], [0.5, 0.7], [0.80, 0.90])
    assert (found["loss"], found["accuracy"]) == (pytest.approx(0.6), pytest.approx(0.85))


def test_a_loss_that_rises_again_counts_at_its_first_passing():
    assert read(0.1, [1.0, 0.1, 0.2, 0.01], [0.0, 1.0, 5.0, 3.0])["loss"] == 1.0


@pytest.mark.parametrize("level", [0.6, 0.09])
def test_no_value_beyond_the_ends_of_a_curve(level):
    assert math.isnan(read(level, [0.5, 0.1])["loss"])


def test_two_runs_are_read_at_the_lowest_loss_that_both_reached():
    a, b = curve(run([1.0, 0.01], [1.0, 0.5])), curve(run([0.8, 0.1], [0.9, 0.3]))
    level, first, second = at_equal_training_loss(a, b)
    assert level == 0.1
    assert first[0] == pytest.approx(0.75)
    assert second[0] == pytest.approx(0.3)
    assert math.isnan(at_equal_training_loss(a, None)[0])


def test_a_last_point_on_other_samples_is_left_out():
    """Records without the digest of a split measured the last point on all samples, the others on a part of them."""
    assert len(curve(run([0.3, 0.2, 0.1], curve_samples=10)).training_loss) == 2
    assert len(curve(run([0.3, 0.2, 0.1], curve_samples=10, split="d")).training_loss) == 3
    assert len(curve(run([0.3, 0.2, 0.1])).training_loss) == 3


@pytest.mark.parametrize("history", [{}, {"train/loss": [0.1]}, {"train/loss": [math.nan, 0.1]}], ids=str)
def test_a_run_without_a_curve_has_none(history):
    assert curve(dataclasses.replace(run([0.2, 0.1]), history=history, epochs=[])) is None


def test_a_negative_training_loss_has_no_logarithm_and_so_no_curve():
    assert curve(run([0.2, -0.9])) is None


def test_levels_are_the_declared_ones_and_the_lowest_common_one():
    curves = {"a": [curve(run([1.0, 0.01])), curve(run([1.0, 0.05]))], "b": [curve(run([0.2, 0.1], [0.4, 0.6]))]}
    found = levels(curves, [0.3, 0.05], ["a", "b"])
    shown = found[["training_loss", "lowest_common", "configuration", "n", "of"]].to_numpy().tolist()
    assert shown == [
        [0.3, False, "a", 2, 2],
        [0.3, False, "b", 0, 1],
        [0.1, True, "a", 2, 2],
        [0.1, True, "b", 1, 1],
        [0.05, False, "a", 2, 2],
        [0.05, False, "b", 0, 1],
    ]
    assert found["loss_mean"].iloc[3] == pytest.approx(0.6)
    assert found["gap_loss_mean"].iloc[3] == pytest.approx(0.5)


# --- the gap along the curve


def test_the_gap_by_training_loss_is_a_mean_over_seeds():
    runs = [run([1.0, 0.01], [1.0, 0.01 + gap], seed=seed) for seed, gap in enumerate((2.0, 4.0))]
    table = gap_by_training_loss(runs)
    assert set(table["n"]) == {2}
    assert table["training_loss"].is_monotonic_decreasing
    assert table["gap_loss_mean"].iloc[-1] == pytest.approx(3.0)
    assert table.loc[np.isclose(table["training_loss"], 0.1), "gap_loss_mean"].item() == pytest.approx(1.5)
