"""Held-out loss and accuracy of runs at one and the same training loss.

At the end of training the larger gap may only be that of the network that fitted further. So the curves of held-out loss
and accuracy against training loss are read where both have fitted equally far: where the training loss first comes down to
that level, on the line, in the logarithm of the training loss, between the points on either side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.statistics.summary import held_out, intervals
from pipeline.training.result import RunResult

VALUES = ("loss", "accuracy", "gap_loss", "gap_accuracy")
"""Values read from a curve: held-out loss and accuracy, and their gaps to the training samples."""
NOWHERE = np.full(len(VALUES), np.nan)

LEVELS_PER_DECADE = 16  # of the curve of the gap by training loss
SMALLEST_LOSS = 1e-8
"""The smallest training loss, since zero has no logarithm."""


@dataclass(frozen=True)
class Curve:
    """The curve of one run, a value per point."""

    training_loss: np.ndarray
    """Training loss in nats, float (points,)."""
    values: np.ndarray
    """Float (points, VALUES)."""

    @property
    def lowest(self) -> float:
        return float(self.training_loss.min())


def curve(result: RunResult) -> Curve | None:
    """The run's curve; None where it has none, or a training loss in it is not finite or negative, so that it has no logarithm.

    Records without the digest of a split measured the last point on all training samples and the others on a part of them:
    that point is left out, since a run would differ from itself.
    """
    split = held_out(result)
    points = len(result.history.get("train/loss", ()))
    if "split" not in result.digests and result.job.training.curve_samples:
        points -= 1
    names = ("train/loss", "train/accuracy", f"{split}/loss", f"{split}/accuracy")
    read = [np.asarray(result.history.get(name, ()), dtype=float)[:points] for name in names]
    training_loss, training_accuracy, loss, accuracy = read
    if points < 1 or any(len(each) != points for each in read) or not np.isfinite(training_loss).all():
        return None
    if training_loss.min() < 0:
        return None
    values = np.column_stack([loss, accuracy, loss - training_loss, training_accuracy - accuracy])
    return Curve(np.maximum(training_loss, SMALLEST_LOSS), values)


def at(curve: Curve, levels: Sequence[float] | np.ndarray) -> np.ndarray:
    """VALUES at each of `levels` (training losses in nats): float (levels, VALUES), NaN where the curve does not pass it.

    A curve that starts below a level does not pass it: nothing is said of what lies before its first point.
    """
    losses = np.log(curve.training_loss)
    found = np.full((len(levels), len(VALUES)), np.nan)
    for row, level in enumerate(np.log(levels)):
        below = np.flatnonzero(losses <= level)
        if len(below) == 0 or (below[0] == 0 and losses[0] < level):
            continue
        after, before = below[0], max(below[0] - 1, 0)
        step = losses[before] - losses[after]
        share = (losses[before] - level) / step if step else 1.0
        found[row] = curve.values[before] + share * (curve.values[after] - curve.values[before])
    return found


def at_equal_training_loss(a: Curve | None, b: Curve | None) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the lowest training loss that both reached, and VALUES of both there; NaN where one starts below it or is None."""
    if a is None or b is None:
        return math.nan, NOWHERE, NOWHERE
    level = max(a.lowest, b.lowest)
    [first], [second] = at(a, [level]), at(b, [level])
    return level, first, second


def by_configuration(results: Iterable[RunResult]) -> dict[str, list[Curve]]:
    """Return the curves of finished runs that have one, by configuration."""
    found: dict[str, list[Curve]] = {}
    for result in results:
        if result.finished and (own := curve(result)):
            found.setdefault(result.job.configuration, []).append(own)
    return found


def levels(
    curves: Mapping[str, Sequence[Curve]], training_losses: Iterable[float], configurations: Iterable[str]
) -> pd.DataFrame:
    """A row per training loss and configuration: VALUES there, over seeds.

    `curves` by configuration. Columns: `configuration` (id), `training_loss` (nats, falling), `lowest_common` (whether it is
    the lowest one that every run reached, else a declared one), `n` seeds that passed it out of `of`, then each of VALUES
    with `_mean`, `_sd`, `_low`, `_high` over those seeds (Student's interval). A mean over a part of the seeds is one of
    those that fitted further.
    """
    every = [curve for own in curves.values() for curve in own]
    wanted = dict.fromkeys(training_losses, False) | ({max(curve.lowest for curve in every): True} if every else {})
    rows = [
        (level, wanted[level], name, *values)
        for name in configurations
        for curve in curves.get(name, ())
        for level, values in zip(wanted, at(curve, list(wanted)), strict=True)
    ]
    by = ["training_loss", "lowest_common", "configuration"]
    frame = pd.DataFrame(rows, columns=[*by, *VALUES]).astype(dict.fromkeys(VALUES, float))
    groups = frame.groupby(by, sort=False)[VALUES[0]]
    counted = pd.DataFrame({"n": groups.count(), "of": groups.size()}).reset_index()
    found = counted.merge(intervals(frame, by, VALUES), on=by)
    return found.sort_values("training_loss", ascending=False, kind="stable", ignore_index=True)


def gap_by_training_loss(results: Iterable[RunResult]) -> pd.DataFrame:
    """The gap as a function of the fit: `levels` of each configuration, from the first point of its curves to the last.

    Of finished runs, each seed once; a training loss counts only where all seeds of the configuration passed it, so that
    the mean is over the same seeds all along. Rows are by configuration, then falling training loss.
    """
    curves = by_configuration(results)
    parts = [levels({name: own}, grid, [name]) for name, own in curves.items() if (grid := _grid(own))]
    table = pd.concat(parts, ignore_index=True) if parts else levels({}, [], [])
    return table[table["n"].eq(table["of"])].reset_index(drop=True)


def _grid(curves: Sequence[Curve]) -> list[float]:
    """Return training losses that all `curves` pass: both ends, and LEVELS_PER_DECADE between; empty if there are none."""
    start, end = min(own.training_loss[0] for own in curves), max(own.lowest for own in curves)
    first, last = np.log10(start) * LEVELS_PER_DECADE, np.log10(end) * LEVELS_PER_DECADE
    between = 10 ** (np.arange(np.ceil(last), first) / LEVELS_PER_DECADE)
    return [start, *between[(between > end) & (between < start)], end] if start > end else []
