"""What a training would take: what the prediction grows with, and by how much."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline import forecast
from tests.training.factory import make_job


def work(**changes: Any) -> float:
    return forecast.work(make_job(**({"width": 512, "batch_size": 128} | changes)), 60_000, 784)


@pytest.mark.parametrize(
    ("changes", "factor"),
    [
        ({"epochs": 10}, 10),
        ({"width": 1024}, 2),
        ({"batch_size": 1}, 8.5),  # measured on MNIST with rmsprop: 7.0
        ({"batch_size": 1024}, 0.9),
    ],
    ids=str,
)
def test_it_grows_with(changes: dict[str, Any], factor: float) -> None:
    assert work(**changes) / work() == pytest.approx(factor, rel=0.1)


@pytest.mark.parametrize(("numbers", "said"), [([0], "0"), ([0, 1, 2, 3, 7], "0-3, 7"), ([1, 3, 4], "1, 3-4")], ids=str)
def test_seeds_are_told_as_ranges(numbers: list[int], said: str) -> None:
    assert forecast.ranges(numbers) == said
