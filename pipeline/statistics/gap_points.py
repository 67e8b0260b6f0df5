"""The gap at three declared points of a training, and the epoch from which on held-out loss only rises.

Gaps are those of the history: after each epoch, against the validation split, or the test split where none is held out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from pipeline.statistics.declaration import Declaration
from pipeline.statistics.design import CROSS_ENTROPY, configuration_of
from pipeline.statistics.slopes import measured_alike
from pipeline.statistics.summary import intervals
from pipeline.training.result import RunResult

LAST, CHOSEN, REACHED = "last epoch", "chosen on validation", "training loss reached"
FIGURES = {"gap_accuracy": "gap/accuracy", "gap_loss": "gap/loss", "training_loss": "train/loss"}
COLUMNS = ["configuration", "key", "name", "seed", "held_out", "point", "epoch", *FIGURES, "on_part"]


def gap_points(results: Iterable[RunResult], declared: Declaration, training_images: int | None = None) -> pd.DataFrame:
    """A row per finished run and point: `epoch` (from 1), `gap_accuracy`, `gap_loss`, `training_loss` after it.

    Where a run has no such point `epoch` is missing and the numbers are NaN.
    `held_out` is the split that the gaps are against. `on_part`: the training side is of the part of the samples that a
    curve is measured on, as it is before the last epoch (`slopes.measured_alike`); after it, of all. `training_images` as
    there.
    """
    threshold = declared.training_loss_threshold
    rows = [row for result in results if result.finished for row in _points(result, threshold, training_images)]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.astype({"epoch": "Int64", "on_part": bool, **dict.fromkeys(FIGURES, float)})


def _points(result: RunResult, threshold: float, training_images: int | None) -> list[dict[str, object]]:
    split, alike = held_out(result), measured_alike(result, training_images)
    losses = result.history.get("train/loss", [])
    in_nats = result.job.training.loss in CROSS_ENTROPY
    found = {
        LAST: len(losses) or None,
        CHOSEN: _chosen(result),
        REACHED: first_reached(losses, threshold) if in_nats else None,
    }
    about = {
        "configuration": configuration_of(result.job),
        "key": result.key,
        "name": result.name,
        "seed": result.job.seed,
    }
    return [
        {
            **about,
            "held_out": split,
            "point": point,
            "epoch": epoch,
            **{figure: _at(result.history.get(metric, []), epoch) for figure, metric in FIGURES.items()},
            "on_part": bool(epoch and epoch <= alike < len(losses)),
        }
        for point, epoch in found.items()
    ]


def held_out(result: RunResult) -> str:
    """The split that the run's curves are against: `val`, or `test` where nothing is held out for validation."""
    return "val" if "val/loss" in result.history else "test"


def _chosen(result: RunResult) -> int | None:
    """The epoch of highest validation accuracy, the first of equals."""
    accuracies = result.history.get("val/accuracy", [])
    return int(np.argmax(accuracies)) + 1 if accuracies else None


def first_reached(losses: Sequence[float], threshold: float) -> int | None:
    """The first epoch, from 1, with a loss of at most `threshold`; None if never."""
    return next((epoch for epoch, loss in enumerate(losses, start=1) if loss <= threshold), None)


def _at(values: Sequence[float], epoch: int | None) -> float:
    return float(values[epoch - 1]) if epoch and epoch <= len(values) else math.nan


def by_configuration(points: pd.DataFrame) -> pd.DataFrame:
    """A row per configuration and point: mean, SD and interval of both gaps over the seeds that have the point.

    `n` seeds have it, `of` so many; `epoch` is their mean. A mean over a part of the seeds is one of those that fitted
    faster. Of `on_part` seeds the training side is of a part of the samples: where it is so of some and not of others, the
    mean is over two kinds of measurement.
    """
    by = ["configuration", "held_out", "point"]
    groups = points.groupby(by, sort=False)
    counted = pd.DataFrame(
        {
            "n": groups["epoch"].count(),
            "of": groups.size(),
            "epoch": groups["epoch"].mean(),
            "on_part": groups["on_part"].sum(),
        }
    )
    figures = ["gap_accuracy", "gap_loss"]
    spread = intervals(points, by, figures)
    return counted.reset_index().merge(spread, on=by, how="left").astype({"epoch": float})


def onset(losses: Sequence[float]) -> int | None:
    """The epoch, from 1, after which a held-out loss only rises; None where it does not rise at the end.

    The last epoch has none after it: a single epoch, or a loss that is lowest at the end, has no onset.
    """
    values = np.asarray(losses, dtype=float)
    if len(values) < 2 or not np.isfinite(values).all():
        return None
    falls = np.flatnonzero(np.diff(values) <= 0)
    last_fall = int(falls[-1]) if len(falls) else -1
    start = last_fall + 2
    return start if start < len(values) else None


def onsets(results: Iterable[RunResult]) -> pd.DataFrame:
    """A row per finished run: `onset`, missing where there is none, `epochs`, and the split whose loss it is about."""
    rows = [
        {
            "configuration": configuration_of(result.job),
            "key": result.key,
            "name": result.name,
            "seed": result.job.seed,
            "held_out": held_out(result),
            "epochs": len(result.history.get("train/loss", [])),
            "onset": onset(result.history.get(f"{held_out(result)}/loss", [])),
        }
        for result in results
        if result.finished
    ]
    columns = ["configuration", "key", "name", "seed", "held_out", "epochs", "onset"]
    return pd.DataFrame(rows, columns=columns).astype({"onset": "Int64", "epochs": "Int64"})
