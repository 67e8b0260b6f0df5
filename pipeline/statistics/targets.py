"""How soon a declared validation accuracy is reached: time to result, as AlgoPerf measures optimizers.

Dahl et al. 2023, Benchmarking neural network training algorithms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

from pipeline.training.result import RunResult

MEASURES = ("epochs", "seconds")
RUNS = ["configuration", *MEASURES]


def runs(results: Iterable[RunResult], target: float) -> pd.DataFrame:
    """A row per finished run with a validation split: `epochs` and `seconds` until its accuracy is at least `target`.

    Epochs are those of the first such point of the curve. Seconds are the run's training time in proportion to its epochs.
    Both are infinite where the run ended before.
    """
    rows = []
    for result in results:
        accuracies = result.history.get("val/accuracy", [])
        if not result.finished or not accuracies:
            continue
        points = zip(result.epochs, accuracies, strict=False)
        reached = next((epoch for epoch, value in points if value >= target), math.inf)
        seconds = result.figures.get("time/train_s", math.nan) * reached / result.epochs[-1]
        rows.append((result.job.configuration, reached, seconds))
    return pd.DataFrame(rows, columns=RUNS).astype(dict.fromkeys(MEASURES, float))


def by_configuration(runs: pd.DataFrame) -> pd.DataFrame:
    """A row per configuration (`configuration`): `n` runs, of which so many `reached` the target, and medians.

    The medians `epochs` and `seconds` are over all runs, one that did not reach the target counting as infinitely late:
    infinite where half of them did not.
    """
    groups = runs.groupby("configuration", sort=False)
    counted = pd.DataFrame({"n": groups.size(), "reached": groups["epochs"].agg(lambda each: np.isfinite(each).sum())})
    return counted.join(groups[list(MEASURES)].median()).reset_index()
