"""How steeply the gap opens, of lines whose slope is known."""

from __future__ import annotations

import dataclasses
import math

import pandas as pd
import pytest

from pipeline.statistics import slopes
from pipeline.training.result import RunResult
from tests.support import factory


def run(
    gaps: list[float], seed: int = 0, curve_samples: int = 0, validation: int = 0, train_size: int = 0
) -> RunResult:
    result = factory.finished(factory.job(seed=seed, epochs=len(gaps), validation=validation))
    result.history["gap/accuracy"] = gaps
    training = dataclasses.replace(result.job.training, curve_samples=curve_samples)
    dataset = dataclasses.replace(result.job.dataset, train_size=train_size)
    result.job = dataclasses.replace(result.job, training=training, dataset=dataset)
    return result


def test_a_line_has_its_slope() -> None:
    found = slopes.over_epochs(slopes.gap_curves([run([0.01, 0.03, 0.05]), run([0.02, 0.02, 0.02], seed=1)]))
    assert found["slope"].to_list() == pytest.approx([0.02, 0])


@pytest.mark.parametrize(("x", "y"), [([1], [0.5]), ([2, 2], [0.1, 0.2]), ([1, 2], [0.1, math.nan])])
def test_a_slope_that_cannot_be_known(x: list[float], y: list[float]) -> None:
    assert math.isnan(slopes.slope(x, y))


@pytest.mark.parametrize(
    ("changes", "images", "epochs"),
    [
        ({}, 60_000, 4),
        ({"curve_samples": 10_000}, 60_000, 3),
        ({"curve_samples": 10_000}, None, 3),
        ({"curve_samples": 10_000}, 1_437, 4),
        ({"curve_samples": 1_000, "validation": 437}, 1_437, 4),
        ({"curve_samples": 1_000, "train_size": 500}, 60_000, 4),
    ],
    ids=str,
)
def test_the_last_epoch_counts_where_it_is_measured_alike(
    changes: dict[str, int], images: int | None, epochs: int
) -> None:
    """Training accuracy of a curve on the first samples ends with that of all samples, half a point off on MNIST."""
    curves = slopes.gap_curves([run([0.01, 0.02, 0.03, 0.0], **changes)], images)
    assert curves["epoch"].to_list() == list(range(1, epochs + 1))


def test_the_slope_over_the_width_is_per_doubling() -> None:
    rows = [("adam", 0, width, 0.001 * doublings) for doublings, width in enumerate((16, 32, 64, 128))]
    rows += [("sgd", 0, 16, 0.5)]  # a single width has no slope
    found = slopes.over_widths(pd.DataFrame(rows, columns=["optimizer", "seed", "width", "gap_accuracy"]))
    assert found[["optimizer", "seed"]].to_numpy().tolist() == [["adam", 0]]
    assert found["slope"].to_list() == pytest.approx([0.001])
