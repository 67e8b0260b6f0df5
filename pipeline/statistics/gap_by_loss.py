"""The gap as a function of the fit: at each training loss that a run passes, from the first point of its curve to the last."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.statistics.equal_fit import VALUES, Curve, at, curve
from pipeline.statistics.summary import intervals
from pipeline.training.result import RunResult

LEVELS_PER_DECADE = 16
GAPS = ["gap_loss", "gap_accuracy"]


def common_levels(curves: Sequence[Curve]) -> np.ndarray:
    """Training losses that all `curves` pass, highest first: both ends, and LEVELS_PER_DECADE between. Empty if there are none."""
    start, end = min(own.training_loss[0] for own in curves), max(own.lowest for own in curves)
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
    groups: dict[str, list[Curve]] = {}
    for result in results:
        own = curve(result) if result.finished else None
        if own and len(own.training_loss) > 1:
            groups.setdefault(result.job.configuration, []).append(own)
    rows = []
    for configuration, curves in groups.items():
        losses = common_levels(curves)
        rows += [
            pd.DataFrame(at(own, losses), columns=list(VALUES)).assign(
                configuration=configuration, training_loss=losses
            )
            for own in curves
        ]
    by = ["configuration", "training_loss"]
    if not rows:
        return pd.DataFrame(columns=[*by, "n"])
    table = pd.concat(rows, ignore_index=True)
    counts = table.groupby(by, sort=False).size().rename("n").reset_index()
    return counts.merge(intervals(table, by, GAPS), on=by)
