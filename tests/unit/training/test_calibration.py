"""Expected calibration error, against its definition written out sample by sample."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.training.calibration import calibration_error


def test_it_is_the_mean_distance_of_accuracy_and_confidence_over_15_bins() -> None:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.full(10, 0.3), 500)
    labels = random.integers(0, 10, 500)
    expected = 0.0
    for low in range(15):
        inside = [n for n, row in enumerate(probabilities) if low / 15 < max(row) <= (low + 1) / 15]
        if inside:
            accuracy = np.mean([probabilities[n].argmax() == labels[n] for n in inside])
            expected += len(inside) / 500 * abs(accuracy - np.mean([max(probabilities[n]) for n in inside]))
    assert calibration_error(probabilities, labels) == pytest.approx(expected)


def test_a_network_that_is_sure_and_right_has_none() -> None:
    assert calibration_error(np.eye(10), np.arange(10)) == 0


def test_one_that_is_sure_and_wrong_has_all() -> None:
    assert calibration_error(np.eye(10), (np.arange(10) + 1) % 10) == 1
