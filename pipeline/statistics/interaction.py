"""Whether the effect of the optimizer depends on the width: the interaction of a two-way design with seeds as blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.results.result import FINISHED
from pipeline.statistics.declaration import Declaration
from pipeline.statistics.design import cells
from pipeline.statistics.paired import NO_SCATTER
from pipeline.statistics.wording import FIGURES, listed, p_value, plural

METHOD = "repeated-measures analysis of variance with seeds as blocks, Greenhouse-Geisser correction"


@dataclass(frozen=True)
class Interaction:
    """`reason` says why there are no numbers, and is empty where there are; then all others are finite."""

    figure: str
    reason: str
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

    @property
    def computed(self) -> bool:
        return not self.reason


def interaction(runs: pd.DataFrame, table: pd.DataFrame, figure: str, declared: Declaration) -> Interaction:
    """Optimizer x width for one figure, over the part of the design that has most cells (`design.cells`).

    F assumes sphericity, which optimizers of unlike scatter break, so p is also given with the correction of Greenhouse and
    Geisser (1959, Psychometrika 24).
    """
    grid = cells(table, declared)
    optimizers, widths = grid["optimizer"].nunique(), grid["width"].nunique()
    missing = optimizers * widths - len(grid)
    reason = ""
    if optimizers < 2 or widths < 2:
        reason = f"it takes two optimizers and two widths; there are {optimizers} and {widths}"
    elif missing:
        reason = f"the design is incomplete: {plural(missing, 'pair')} of optimizer and width {_have(missing)} no run"
    if reason:
        return Interaction(figure, f"cannot be computed: {reason}", optimizers, widths)
    finished = runs[runs["status"].eq(FINISHED) & runs["configuration"].isin(grid.index)]
    one_identity = finished[finished.groupby("seed")["identity"].transform("nunique").eq(1)]
    grid = grid.sort_values(["optimizer", "width"])
    values = one_identity.pivot(index="seed", columns="configuration", values=figure).reindex(columns=grid.index)
    seeds = finished["seed"].nunique()
    values = values.dropna()
    left_out = seeds - len(values)
    if len(values) < 2:
        empty = grid.loc[~grid.index.isin(finished["configuration"]), "label"]
        why = f"; no run of {listed(list(empty))} finished" if len(empty) else ""
        reason = (
            f"cannot be computed: it takes two seeds with every optimizer at every width; there are {len(values)}{why}"
        )
        return Interaction(figure, reason, optimizers, widths, len(values), left_out)
    scores = values[grid.index].to_numpy(dtype=float) @ _contrasts(optimizers, widths)
    if np.ptp(scores, axis=0).max() <= NO_SCATTER:
        reason = "cannot be computed: all seeds have the same differences, so there is no scatter to compare with"
        return Interaction(figure, reason, optimizers, widths, len(values), left_out)
    return of_scores(figure, scores, (optimizers, widths), left_out)


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


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
        reason="",
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


def in_words(found: Interaction, declared: Declaration) -> str:
    about = FIGURES[found.figure].words
    if not found.computed:
        return f"Whether the optimizer's effect on the {about} depends on the width {found.reason}."
    claimed = found.p_corrected < declared.alpha and found.seeds >= declared.seeds_to_explore
    shown = "depends" if claimed else "is not shown to depend"
    few = f" {plural(found.seeds, 'seed')} carry no claim." if found.seeds < declared.seeds_to_explore else ""
    return (
        f"The optimizer's effect on the {about} {shown} on the width: F({found.epsilon * found.df1:.1f}, "
        f"{found.epsilon * found.df2:.1f}) = {found.f:.2f}, {p_value(found.p_corrected)}, partial η² = {found.partial_eta_squared:.2f}, "
        f"{plural(found.seeds, 'seed')} as blocks.{few}"
    )
