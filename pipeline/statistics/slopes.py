"""How steeply the gap opens: over the epochs of a training, and with every doubling of the width."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from pipeline.statistics.design import configuration_of
from pipeline.training.result import RunResult


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Of the least-squares line through the points; NaN of fewer than two places, or where a number is none."""
    places, values = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if len(np.unique(places)) < 2 or not np.isfinite(values).all():
        return math.nan
    return float(np.polyfit(places, values, 1)[0])


def measured_alike(result: RunResult, training_images: int | None) -> int:
    """How many epochs of the run's curve, from the first, have their training accuracy from the same samples.

    A curve on a part of the samples, the same for every seed, ends with an epoch on all of them. The 10,000 of MNIST are up
    to a third of a point easier than all 50,000, by the epoch, which would bend the curve. `training_images`: how many there
    are, validation samples included; None if not known.
    """
    epochs, part, data = (
        len(result.history.get("gap/accuracy", [])),
        result.job.training.curve_samples,
        result.job.dataset,
    )
    used = data.train_size or (math.inf if training_images is None else training_images - data.validation_size)
    return epochs - 1 if 0 < part < used else epochs


def alike(result: RunResult, training_images: int | None) -> dict[str, list[float]]:
    """The run's history, of the epochs that are `measured_alike`."""
    epochs = measured_alike(result, training_images)
    return {name: list(values[:epochs]) for name, values in result.history.items()}


def gap_curves(results: Iterable[RunResult], training_images: int | None = None) -> pd.DataFrame:
    """A row per finished run and epoch (from 1): its `gap`, in accuracy, against the split of the curve, a share.

    Of the epochs that are `measured_alike`.
    """
    rows = [
        (configuration_of(result.job), result.job.seed, epoch, gap)
        for result in results
        if result.finished
        for epoch, gap in enumerate(
            result.history.get("gap/accuracy", [])[: measured_alike(result, training_images)], start=1
        )
    ]
    return pd.DataFrame(rows, columns=["configuration", "seed", "epoch", "gap"]).astype({"gap": float})


def over_epochs(curves: pd.DataFrame) -> pd.DataFrame:
    """A row per run of `gap_curves`: `slope`, share per epoch over all its epochs; NaN of a single epoch."""
    rows = [
        (configuration, seed, slope(run["epoch"].to_list(), run["gap"].to_list()))
        for (configuration, seed), run in curves.groupby(["configuration", "seed"], sort=False)
    ]
    return pd.DataFrame(rows, columns=["configuration", "seed", "slope"]).astype({"slope": float})


def over_widths(runs: pd.DataFrame) -> pd.DataFrame:
    """A row per optimizer and seed: `slope`, the gap's share per doubling of the width; of those with two widths or more.

    `runs` has `optimizer`, `seed`, `width` and `gap_accuracy`, one row for each width.
    """
    rows = [
        (optimizer, seed, slope(np.log2(own["width"].to_numpy(float)).tolist(), own["gap_accuracy"].to_list()))
        for (optimizer, seed), own in runs.groupby(["optimizer", "seed"], sort=False)
    ]
    return pd.DataFrame(rows, columns=["optimizer", "seed", "slope"]).astype({"slope": float}).dropna()
