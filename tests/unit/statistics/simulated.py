"""Sweeps drawn from a known truth, as frames of runs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.statistics import contrasts, design, verdicts
from pipeline.statistics.declaration import Declaration
from pipeline.training.result import FINISHED

OPTIMIZERS = ("sgd", "momentum", "rmsprop", "adam", "adamw", "nadam")
WIDTHS = (16, 64, 256, 512)


def scatter(shape: tuple[int, ...], random: np.random.Generator, shared: float = 0.5) -> np.ndarray:
    """Normal, of variance 1 in its last axis, the seeds; of which the share `shared` is the seed's in all others but the first."""
    own = random.normal(size=shape)
    block = random.normal(size=(shape[0], *[1] * (len(shape) - 2), shape[-1]))
    return np.sqrt(shared) * block + np.sqrt(1 - shared) * own


def frame(
    validation: np.ndarray, test: np.ndarray, gap: np.ndarray, optimizers: tuple[str, ...], widths: tuple[int, ...]
) -> pd.DataFrame:
    """Arrays (sweeps, widths, optimizers, seeds) as runs; each sweep is a data set of its own, so that none meets another."""
    sweeps, _, _, seeds = test.shape
    index = pd.MultiIndex.from_product(
        [range(sweeps), widths, optimizers, range(seeds)], names=["sweep", "width", "optimizer", "seed"]
    )
    runs = index.to_frame(index=False)
    runs["dataset"] = runs["sweep"].astype(str)
    runs["hidden"] = runs["width"].astype(str)
    runs["name"] = runs["optimizer"] + "-w" + runs["hidden"] + "-d1-s" + runs["seed"].astype(str)
    figures = {"test_accuracy": test, "gap_accuracy": gap, "gap_loss": 3 * gap, "best_val_accuracy": validation}
    values = {name: array.ravel() for name, array in figures.items()}
    return runs.assign(key=runs["dataset"] + runs["name"], depth=1, epochs=5, status=FINISHED, **values)


def judged(runs: pd.DataFrame, declared: Declaration) -> pd.DataFrame:
    completed = design.completed(runs)
    table = design.configurations(completed)
    return verdicts.judged(contrasts.contrasts(completed, table, design.design(table, declared), declared), declared)
