"""How soon a declared validation accuracy is reached: time to result, as AlgoPerf measures optimizers.

Dahl et al. 2023, Benchmarking neural network training algorithms; performance profiles of Dolan and Moré 2002,
Mathematical Programming 91, 201-213.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from pipeline.training.result import RunResult

MEASURES = ("epochs", "seconds")
RUNS = ["configuration", *MEASURES]
PROFILE = ["optimizer", "measure", "problems", "tau", "share"]


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


def profile(targets: pd.DataFrame, problems: Mapping[str, tuple[str, object]]) -> pd.DataFrame:
    """The performance profile of each optimizer: in what `share` of problems it is within a factor `tau` of the fastest.

    `targets` as `by_configuration` gives it. `problems`: of each configuration its optimizer, and all else that it is (a
    width, a size …), which is the problem; those that not every optimizer was run on are left out, and those that none
    solved. Of an optimizer with several settings the fastest counts. Columns: `optimizer`, `measure` (`epochs`, `seconds`),
    `problems` (how many), and a row for each `tau` (from 1, ascending) at which any share rises.
    """
    rows = []
    optimizers = list(dict.fromkeys(optimizer for optimizer, _ in problems.values()))
    known = targets[targets["configuration"].isin(list(problems))]
    index = pd.MultiIndex.from_tuples(known["configuration"].map(problems), names=["optimizer", "problem"])
    for measure in MEASURES if len(optimizers) > 1 else ():
        fastest = pd.Series(known[measure].to_numpy(), index=index).groupby(level=[0, 1], sort=False).min()
        times = fastest.unstack("optimizer").reindex(columns=optimizers)
        times = times.dropna()[np.isfinite(times.dropna().min(axis=1))]
        ratios = times.div(times.min(axis=1), axis=0).to_numpy()
        for tau in np.unique(ratios[np.isfinite(ratios)]):
            shares = (ratios <= tau).mean(axis=0).tolist()
            rows += [(name, measure, len(ratios), tau, share) for name, share in zip(optimizers, shares, strict=True)]
    return pd.DataFrame(rows, columns=PROFILE).sort_values(["measure", "tau"], kind="stable", ignore_index=True)
