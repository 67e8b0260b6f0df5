"""The gap as a function of the fit: at each training loss that a run passes, not at each epoch.

Runs that fit at different speeds are compared at the same training loss, on the way from the first point of their curves to
the last one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from pipeline.statistics.design import configuration_of
from pipeline.statistics.summary import intervals
from pipeline.training.result import RunResult

LEVELS_PER_DECADE = 16
SMALLEST_LOSS = 1e-8
"""A training loss of zero has no logarithm."""

GAPS = {"gap_loss": "gap/loss", "gap_accuracy": "gap/accuracy"}
"""Column and metric of a history."""


def at_levels(history: Mapping[str, Sequence[float]], metric: str, levels: np.ndarray) -> np.ndarray:
    """`metric` where the training loss first falls to each of `levels` (nats), linear between points in its logarithm.

    NaN for levels above the first point of the curve or below its lowest one.
    """
    losses = np.log(np.maximum(history["train/loss"], SMALLEST_LOSS))
    values = np.asarray(history[metric], dtype=float)
    found = np.full(len(levels), np.nan)
    for place, level in enumerate(np.log(levels)):
        passed = np.flatnonzero(losses <= level + 1e-12)
        if len(passed) == 0 or (passed[0] == 0 and losses[0] < level - 1e-9):
            continue
        after = passed[0]
        before = max(after - 1, 0)
        step = losses[before] - losses[after]
        share = (losses[before] - level) / step if step > 0 else 1.0
        found[place] = values[before] + share * (values[after] - values[before])
    return found


def common_levels(runs: Sequence[RunResult]) -> np.ndarray:
    """Training losses that all of `runs` pass, highest first: both ends, and LEVELS_PER_DECADE between. Empty if there are none."""
    losses = [np.maximum(run.history["train/loss"], SMALLEST_LOSS) for run in runs]
    start, end = min(own[0] for own in losses), max(own.min() for own in losses)
    if not start > end:
        return np.array([])
    steps = np.arange(np.ceil(np.log10(end) * LEVELS_PER_DECADE), np.log10(start) * LEVELS_PER_DECADE)
    between = 10 ** (steps / LEVELS_PER_DECADE)
    return np.unique([start, end, *between[(between > end) & (between < start)]])[::-1]


def gap_by_training_loss(results: Sequence[RunResult]) -> pd.DataFrame:
    """A row per configuration and training loss: n and mean, SD, interval over seeds of the gap in loss and in accuracy.

    Of finished runs, each seed once; a level counts only where all seeds of the configuration passed it, so that the mean is
    over the same seeds all along. Columns: `configuration`, `training_loss` (falling), `n`, `gap_<loss or accuracy>_<mean, sd,
    low, high>`.
    """
    groups: dict[str, list[RunResult]] = {}
    for result in results:
        if result.finished and len(result.history.get("train/loss", [])) > 1:
            groups.setdefault(configuration_of(result.job), []).append(result)
    rows = []
    for configuration, runs in groups.items():
        levels = common_levels(runs)
        for run in runs:
            gaps = {column: at_levels(run.history, metric, levels) for column, metric in GAPS.items()}
            rows.append(pd.DataFrame({"configuration": configuration, "training_loss": levels, **gaps}))
    if not rows:
        return pd.DataFrame(columns=["configuration", "training_loss", "n"])
    table = pd.concat(rows, ignore_index=True)
    by = ["configuration", "training_loss"]
    found = intervals(table, by, list(GAPS))
    counts = table.groupby(by, sort=False).size().rename("n").reset_index()
    return counts.merge(found, on=by)
