"""Whether the effect of the optimizer depends on the width: the interaction of a two-way design with seeds as blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd

from pipeline.statistics.declaration import Declaration
from pipeline.statistics.design import cells
from pipeline.statistics.paired import NO_SCATTER
from pipeline.training.result import FINISHED


class Missing(StrEnum):
    """Why an interaction cannot be computed."""

    LEVELS = "two optimizers and two widths"
    CELLS = "pairs of optimizer and width"
    SEEDS = "two seeds with every optimizer at every width"
    SCATTER = "scatter"


@dataclass(frozen=True)
class Interaction:
    """Where nothing is `missing` all numbers are finite."""

    figure: str
    missing: Missing | None = None
    optimizers: int = 0
    widths: int = 0
    seeds: int = 0
    """Blocks: seeds that have every optimizer at every width."""
    left_out: int = 0
    """Seeds that lack one."""
    f: float = math.nan
    df1: float = math.nan
    df2: float = math.nan
    p: float = math.nan
    """As if all differences between cells had one variance (sphericity), as they seldom have."""
    epsilon: float = math.nan
    """How far they have: 1 wholly, 1 / df1 least."""
    p_corrected: float = math.nan
    """With both degrees of freedom multiplied by epsilon: the p to go by."""
    partial_eta_squared: float = math.nan
    """Share of the variation within seeds, main effects taken out, that the interaction explains."""
    empty_cells: int = 0
    """Pairs of optimizer and width without a run."""
    unfinished: tuple[str, ...] = ()
    """Configurations, by label, of which no run finished."""


def interaction(runs: pd.DataFrame, table: pd.DataFrame, figure: str, declared: Declaration) -> Interaction:
    """Optimizer x width for one figure, over the part of the design that has most cells (`design.cells`).

    F assumes sphericity, which optimizers of unlike scatter break, so p is also given with the correction of Greenhouse and
    Geisser (1959, Psychometrika 24).
    """
    grid = cells(table, declared)
    optimizers, widths = grid["optimizer"].nunique(), grid["width"].nunique()
    if optimizers < 2 or widths < 2:
        return Interaction(figure, Missing.LEVELS, optimizers, widths)
    if empty := optimizers * widths - len(grid):
        return Interaction(figure, Missing.CELLS, optimizers, widths, empty_cells=empty)
    finished = runs[runs["status"].eq(FINISHED) & runs["configuration"].isin(grid.index)]
    one_identity = finished[finished.groupby("seed")["identity"].transform("nunique").eq(1)]
    grid = grid.sort_values(["optimizer", "width"])
    values = one_identity.pivot(index="seed", columns="configuration", values=figure).reindex(columns=grid.index)
    seeds = finished["seed"].nunique()
    values = values.dropna()
    left_out = seeds - len(values)
    if len(values) < 2:
        unfinished = tuple(grid.loc[~grid.index.isin(finished["configuration"]), "label"])
        return Interaction(figure, Missing.SEEDS, optimizers, widths, len(values), left_out, unfinished=unfinished)
    scores = values[grid.index].to_numpy(dtype=float) @ _contrasts(optimizers, widths)
    if np.ptp(scores, axis=0).max() <= NO_SCATTER:
        return Interaction(figure, Missing.SCATTER, optimizers, widths, len(values), left_out)
    return of_scores(figure, scores, (optimizers, widths), left_out)


def _contrasts(optimizers: int, widths: int) -> np.ndarray:
    """Orthonormal, (cells, df1): products of the contrasts of either factor, cells by optimizer, then by width."""
    from scipy.linalg import helmert

    return np.kron(helmert(optimizers).T, helmert(widths).T)


def of_scores(figure: str, scores: np.ndarray, levels: tuple[int, int], left_out: int) -> Interaction:
    """`scores`: (seeds, df1), each seed's value of each orthonormal interaction contrast, in which its own level is gone.

    That all their means are zero is what the interaction's F of a repeated-measures analysis tests. It is that of
    statsmodels' AnovaRM, which takes time cubic in the runs and gets there through indicators of every seed.
    """
    from scipy import stats
    from statsmodels.regression.linear_model import OLS

    seeds, df1 = scores.shape
    tested = OLS(scores.ravel(), np.tile(np.eye(df1), (seeds, 1))).fit().f_test(np.eye(df1))
    f, df2 = float(tested.fvalue), float(tested.df_denom)
    epsilon = greenhouse_geisser(scores)
    return Interaction(
        figure=figure,
        optimizers=levels[0],
        widths=levels[1],
        seeds=seeds,
        left_out=left_out,
        f=f,
        df1=df1,
        df2=df2,
        p=float(tested.pvalue),
        epsilon=epsilon,
        p_corrected=float(stats.f.sf(f, epsilon * df1, epsilon * df2)),
        partial_eta_squared=f * df1 / (f * df1 + df2),
    )


def greenhouse_geisser(scores: np.ndarray) -> float:
    """Epsilon of (seeds, df1) values of orthonormal contrasts: tr(S)² / (df1 tr(S²)), S their covariance."""
    covariance = np.atleast_2d(np.cov(scores, rowvar=False))
    return float(np.trace(covariance) ** 2 / (len(covariance) * np.sum(covariance**2)))
