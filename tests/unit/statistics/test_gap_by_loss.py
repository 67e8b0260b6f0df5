"""The gap at equal training loss: where it is read off a curve, and over which seeds its mean is."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.statistics.equal_fit import curve
from pipeline.statistics.gap_by_loss import common_levels, gap_by_training_loss
from tests.support import factory


def run(seed: int, losses: list[float], gaps: list[float]):
    result = factory.finished(factory.job("adam", 8, seed, validation=9))
    held_out = [loss + gap for loss, gap in zip(losses, gaps, strict=True)]
    accuracies = {"train/accuracy": [0.9] * len(losses), "val/accuracy": [0.9 - gap / 10 for gap in gaps]}
    result.history = {"train/loss": losses, "val/loss": held_out, **accuracies}
    return result


def test_levels_are_those_that_all_seeds_pass():
    levels = common_levels([curve(run(0, [1.0, 0.1], [0, 1])), curve(run(1, [0.5, 0.2], [0, 1]))])
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
