"""The gap at equal training loss: where it is read off a curve, and over which seeds its mean is."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.statistics.gap_by_loss import at_levels, common_levels, gap_by_training_loss
from tests.support import factory

CURVE = {"train/loss": [1.0, 0.1, 0.2, 0.01], "gap/loss": [0.0, 1.0, 5.0, 3.0]}


def run(seed: int, losses: list[float], gaps: list[float]):
    result = factory.finished(factory.job("adam", 8, seed, validation=9))
    result.history = {"train/loss": losses, "gap/loss": gaps, "gap/accuracy": [gap / 10 for gap in gaps]}
    return result


def test_a_value_between_two_points_is_linear_in_the_logarithm_of_the_loss():
    found = at_levels(CURVE, "gap/loss", np.array([1.0, 10**-0.5, 0.1, 0.01]))
    assert found == pytest.approx([0.0, 0.5, 1.0, 3.0])


def test_a_loss_that_rises_again_counts_at_its_first_passing():
    assert at_levels(CURVE, "gap/loss", np.array([0.15]))[0] == pytest.approx(np.log(1 / 0.15) / np.log(10))


def test_no_value_beyond_the_ends_of_a_curve():
    assert np.isnan(at_levels(CURVE, "gap/loss", np.array([1.1, 0.009]))).all()


def test_levels_are_those_that_all_seeds_pass():
    levels = common_levels([run(0, [1.0, 0.1], [0, 1]), run(1, [0.5, 0.2], [0, 1])])
    assert (levels[0], levels[-1]) == (0.5, 0.2)
    assert (np.diff(levels) < 0).all()


def test_mean_over_seeds():
    table = gap_by_training_loss([run(0, [1.0, 0.01], [0.0, 2.0]), run(1, [1.0, 0.01], [0.0, 4.0])])
    assert set(table["n"]) == {2}
    middle = table[np.isclose(table["training_loss"], 0.1)].iloc[0]
    assert (middle["gap_loss_mean"], middle["gap_accuracy_mean"]) == pytest.approx((1.5, 0.15))
    assert table["training_loss"].is_monotonic_decreasing


def test_a_single_point_is_no_curve():
    assert gap_by_training_loss([run(0, [1.0], [0.0])]).empty
