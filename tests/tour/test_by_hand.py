"""The mathematics of the tour against slopes that need no calculus, and against what softmax and relu are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.tour import by_hand, sieve, text

LOSSES = {"cross-entropy": by_hand.cross_entropy, "squared error": by_hand.squared_error}


@pytest.fixture
def batch() -> tuple[np.ndarray, np.ndarray, by_hand.Weights]:
    """Seven samples, four pixels, layers of five and three, three classes."""
    rng = np.random.default_rng(0)
    shapes = [(4, 5), (5,), (5, 3), (3,), (3, 3), (3,)]
    return rng.random((7, 4)), np.eye(3)[rng.integers(0, 3, 7)], [rng.normal(size=shape) for shape in shapes]


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_slopes(name: str, batch: tuple[np.ndarray, np.ndarray, by_hand.Weights]) -> None:
    x, y, weights = batch
    gradients = by_hand.backward(by_hand.forward(x, weights), y, weights, name)
    for array, gradient in zip(weights, gradients, strict=True):
        for place in np.ndindex(array.shape):
            assert gradient[place] == pytest.approx(_slope(LOSSES[name], x, y, weights, array, place), abs=1e-8)


def _slope(
    loss: Callable[[np.ndarray, np.ndarray], float],
    x: np.ndarray,
    y: np.ndarray,
    weights: by_hand.Weights,
    array: np.ndarray,
    place: tuple[int, ...],
) -> float:
    kept, sides = array[place], []
    for way in (1e-6, -1e-6):
        array[place] = kept + way
        sides.append(loss(by_hand.forward(x, weights)[-1], y))
    array[place] = kept
    return (sides[0] - sides[1]) / 2e-6


def test_softmax_is_a_distribution_whatever_the_scores() -> None:
    p = by_hand.softmax(np.array([[1000.0, 0.0, -1000.0], [0.0, 0.0, 0.0]]))
    assert p == pytest.approx(np.array([[1, 0, 0], [1 / 3] * 3]))


def test_neighbours_and_spread_of_classes_that_are_apart() -> None:
    labels = np.repeat([0, 1], 10)
    x = 100.0 * labels[:, None] + np.random.default_rng(0).random((20, 3))
    assert sieve.neighbours(x, labels) == 1
    assert sieve.between(x, labels) > 0.99
    assert sieve.between(x, np.tile([0, 1], 10)) < 0.1


def test_principal_directions_are_those_of_most_variance() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 4)) * [1, 9, 0.1, 3]
    places = sieve.principal(x)
    assert np.abs(np.corrcoef(places[:, 0], x[:, 1])[0, 1]) > 0.99
    assert np.abs(np.corrcoef(places[:, 1], x[:, 3])[0, 1]) > 0.99


def test_a_bar_is_as_long_as_its_share() -> None:
    assert text.bar(0.5, 10) == "█████"
    assert text.bar(0.5125, 10) == "█████▏"
    assert text.bar(0, 10) == ""


def test_a_drawing_has_no_margins() -> None:
    image = np.zeros((5, 5))
    image[1:3, 2:4] = [[1, 0.5], [0, 0.25]]
    assert text.drawing(image) == "██▒▒\n  ░░"
