"""Held-out loss and accuracy of runs at one and the same training loss.

At the end of training the larger gap may only be that of the network that fitted further. So the curves of held-out loss
and accuracy against training loss are read where both have fitted equally far: where the training loss first comes down to
that level, on the line between the points on either side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.statistics.summary import epochs_of, held_out, intervals
from pipeline.training.result import RunResult

LEVELS = ["configuration", "training_loss", "lowest_common", "n", "of"]


@dataclass(frozen=True)
class Curve:
    """One run, a value per point, all float (points,)."""

    training_loss: np.ndarray
    loss: np.ndarray
    """Of the held-out samples."""
    accuracy: np.ndarray

    @property
    def lowest(self) -> float:
        return float(self.training_loss.min())


@dataclass(frozen=True)
class Reading:
    """Held-out loss and accuracy at a training loss; NaN where the curve has no such place."""

    loss: float
    accuracy: float


NOWHERE = Reading(math.nan, math.nan)


def curve(result: RunResult) -> Curve | None:
    """The run's curve; None where it has none, or a training loss in it is not finite.

    Records without the digest of a split measured the last point on all training samples and the others on a part of them:
    that point is left out, since a run would differ from itself.
    """
    split = held_out(result)
    names = ("train/loss", f"{split}/loss", f"{split}/accuracy")
    points = len(epochs_of(result))
    if "split" not in result.digests and result.job.training.curve_samples:
        points -= 1
    values = [np.asarray(result.history.get(name, ()), dtype=float)[:points] for name in names]
    if points < 1 or any(len(each) != points for each in values) or not np.isfinite(values[0]).all():
        return None
    return Curve(*values)


def read(curve: Curve, level: float) -> Reading:
    """Where the training loss first comes down to `level`; NOWHERE if it never does, or starts below it."""
    below = np.flatnonzero(curve.training_loss <= level)
    if len(below) == 0:
        return NOWHERE
    after = int(below[0])
    if curve.training_loss[after] == level:
        return Reading(float(curve.loss[after]), float(curve.accuracy[after]))
    if after == 0:
        return NOWHERE
    before = after - 1
    share = (curve.training_loss[before] - level) / (curve.training_loss[before] - curve.training_loss[after])
    loss, accuracy = (
        float(values[before] + share * (values[after] - values[before])) for values in (curve.loss, curve.accuracy)
    )
    return Reading(loss, accuracy)


def at_equal_training_loss(a: Curve, b: Curve) -> tuple[float, Reading, Reading]:
    """The lowest training loss that both reached, and both readings there; NaN and NOWHERE if one starts below it."""
    level = max(a.lowest, b.lowest)
    readings = read(a, level), read(b, level)
    if any(math.isnan(reading.loss) for reading in readings):
        return math.nan, NOWHERE, NOWHERE
    return level, *readings


def levels(
    curves: Mapping[str, Sequence[Curve]], training_losses: Iterable[float], configurations: Iterable[str]
) -> pd.DataFrame:
    """A row per configuration and training loss: held-out loss and accuracy there, over seeds.

    `curves` by configuration. Columns: `configuration` (id), `training_loss` (nats), `lowest_common` (whether it is the
    lowest one that every run reached, else a declared one), `n` seeds that passed it out of `of`, then `loss_…` and
    `accuracy_…` with `mean`, `sd`, `low`, `high` over those seeds (Student's interval). A mean over a part of the seeds is
    one of those that fitted further.
    """
    every = [curve for own in curves.values() for curve in own]
    common = max((curve.lowest for curve in every), default=math.nan)
    wanted = [(level, False) for level in training_losses] + ([(common, True)] if every else [])
    rows = [
        {"configuration": name, "training_loss": level, "lowest_common": lowest, **vars(read(curve, level))}
        for name in configurations
        for level, lowest in wanted
        for curve in curves.get(name, ())
    ]
    by = LEVELS[:3]
    frame = pd.DataFrame(rows, columns=[*by, "loss", "accuracy"]).astype({"loss": float, "accuracy": float})
    groups = frame.groupby(by, sort=False)["loss"]
    counted = pd.DataFrame({"n": groups.count(), "of": groups.size()}).reset_index()
    found = counted.merge(intervals(frame, by, ["loss", "accuracy"]), on=by)
    return found.sort_values(["training_loss", "lowest_common"], ascending=[False, True], kind="stable")
