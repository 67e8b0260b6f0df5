"""The gap of two runs at one and the same training loss.

After equal epochs the larger gap may only be that of the network that fitted further. So both curves of gap against
training loss are read where the two have fitted equally far.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

CURVES = {"gap_accuracy": "gap/accuracy", "gap_loss": "gap/loss"}
"""Figure of a contrast, and the metric of the history that is its curve."""

History = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Matched:
    training_loss: float
    """Where both were read; NaN, like the gaps, where the two have no training loss in common."""
    a: dict[str, float]
    """Gap of the first run, by figure."""
    b: dict[str, float]


def at_matched_training_loss(a: History, b: History) -> Matched:
    """Both gaps of two runs at the lowest training loss that both reached, read from their histories.

    Histories have their training figures from the same samples in every epoch (`slopes.alike`): read at a last epoch on all
    samples and at an earlier one on a part of them, a run would differ from itself. A curve is read where it first comes
    down to that loss, on the line between the epochs on either side. A run that is below the other's lowest loss after its
    first epoch has no such place: nothing is said of what lies before it.
    """
    losses = [np.asarray(history.get("train/loss", ()), dtype=float) for history in (a, b)]
    level = math.nan
    if all(len(loss) and np.isfinite(loss).all() for loss in losses):
        level = max(loss.min() for loss in losses)
    gaps = [{figure: _read(loss, history.get(metric, ()), level) for figure, metric in CURVES.items()}
            for loss, history in zip(losses, (a, b), strict=True)]  # fmt: skip
    common = not any(math.isnan(value) for gap in gaps for value in gap.values())
    nothing = dict.fromkeys(CURVES, math.nan)
    return Matched(level, *gaps) if common else Matched(math.nan, nothing, dict(nothing))


def _read(loss: np.ndarray, values: Sequence[float], level: float) -> float:
    """The value where the loss first comes down to `level`; NaN where it never does, or starts below it."""
    below = np.flatnonzero(loss <= level)
    if len(below) == 0 or len(values) != len(loss):
        return math.nan
    after = int(below[0])
    if loss[after] == level:
        return float(values[after])
    if after == 0:
        return math.nan
    share = (loss[after - 1] - level) / (loss[after - 1] - loss[after])
    return float(values[after - 1] + share * (values[after] - values[after - 1]))
