"""Paired differences: a seed is a block, since all runs of one seed share initial weights and the order of batches.

All functions take many contrasts at once, a row each, with a column per seed that both sides have.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from pipeline.statistics.declaration import Declaration
from pipeline.statistics.summary import BOUNDS, CONFIDENCE, UNBOUNDED
from pipeline.training.result import FINISHED

NO_SCATTER = 1e-12
"""Differences within this range are equal: the rest is rounding of shares and losses."""

COLUMNS = ("difference", "sd", "low", "high", "p", "p_t", "p_equivalent", "effect_size")


def pairs(runs: pd.DataFrame, a: str, b: str) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, int]]:
    """The finished runs of two configurations, by id: a row per pair, by its seed, in the order of seeds.

    A pair shares the seed and all else that decided its numbers. Also returned: the number of seeds without a pair;
    `only_a`, `only_b`: one side has it; `unlike`: other data, code or device.
    """
    finished = runs[runs["status"].eq(FINISHED)]
    first, second = (finished[finished["configuration"].eq(name)].set_index("seed").sort_index() for name in (a, b))
    both = first.index.intersection(second.index)
    alike = both[first.loc[both, "identity"].to_numpy() == second.loc[both, "identity"].to_numpy()]
    others = {"only_a": len(first) - len(both), "only_b": len(second) - len(both), "unlike": len(both) - len(alike)}
    return first.loc[alike], second.loc[alike], others


def describe(differences: np.ndarray, margins: np.ndarray, declared: Declaration) -> pd.DataFrame:
    """What each row of `differences` (contrasts x seeds, A minus B) says; NaN for what so few seeds cannot say.

    `margins` has a size for each row, or NaN where none was declared.

    - `difference`, `sd`: mean and standard deviation (n − 1) over seeds.
    - `low`, `high`: Student's 95 % interval of the mean.
    - `p`: two-sided sign-flip permutation test of a mean of zero (Fisher 1935, The Design of Experiments, § 21);
      exact where all sign patterns are within the declared number of permutations, else by that many random ones.
    - `p_t`: two-sided paired t test (Student 1908).
    - `p_equivalent`: two one-sided paired t tests (TOST; Schuirmann 1987) of a mean within ± the row's margin.
    - `effect_size`: mean over SD (Cohen's d_z, 1988).

    Where all differences of a row are one number, t divides by zero. Of such a row `p_t` is 1 if the number is 0, else
    unknown; `p_equivalent` is its limit, 0 within the margin and 1 outside.
    """
    from scipy import stats

    rows, n = differences.shape
    if n == 0:
        return pd.DataFrame(np.nan, index=range(rows), columns=list(COLUMNS))
    mean = differences.mean(axis=1)
    found = pd.DataFrame({"difference": mean}, columns=list(COLUMNS), dtype=float)
    if n == 1:
        return found
    scattered = np.ptp(differences, axis=1) > NO_SCATTER
    sd = np.where(scattered, differences.std(axis=1, ddof=1), 0.0)
    half = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * sd / np.sqrt(n)
    found["sd"], found["low"], found["high"] = sd, mean - half, mean + half
    found["p"] = sign_flip(differences, declared)
    found["p_t"] = np.where(np.abs(mean) <= NO_SCATTER, 1.0, np.nan)
    found["p_equivalent"] = np.where(np.isnan(margins), np.nan, np.where(np.abs(mean) < margins, 0.0, 1.0))
    found.loc[scattered, "effect_size"] = mean[scattered] / sd[scattered]
    if scattered.any():
        found.loc[scattered, "p_t"] = stats.ttest_1samp(differences[scattered], 0, axis=1).pvalue
    tested = scattered & ~np.isnan(margins)
    if tested.any():
        found.loc[tested, "p_equivalent"] = equivalence(differences[tested], margins[tested])
    return found


def described(samples: Sequence[np.ndarray], margins: np.ndarray, declared: Declaration) -> pd.DataFrame:
    """Return `describe` for samples of different sizes, a row per sample."""
    sizes = np.array([len(sample) for sample in samples])
    parts = []
    for n in np.unique(sizes):
        rows = np.flatnonzero(sizes == n)
        stacked = np.array([sample for sample in samples if len(sample) == n]).reshape(len(rows), n)
        parts.append(describe(stacked, margins[rows], declared).set_axis(rows))
    return pd.concat(parts).sort_index()


def within_bounds(rows: pd.DataFrame, metrics: Iterable[str]) -> pd.DataFrame:
    """Return `rows` of `describe` with `low` and `high` cut at the largest possible difference of the metric."""
    bounds = [BOUNDS.get(metric, UNBOUNDED) for metric in metrics]
    widest = pd.Series([high - low for low, high in bounds], index=rows.index)
    return rows.assign(**{end: rows[end].clip(-widest, widest) for end in ("low", "high")})


def sign_flip(differences: np.ndarray, declared: Declaration) -> np.ndarray:
    """Return the two-sided p of a zero mean per row, under sign flips of each seed's difference."""
    from scipy import stats

    tested = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=declared.permutations,
        axis=-1,
        batch=1024,
        rng=np.random.default_rng(declared.random_seed),
    )
    return np.asarray(tested.pvalue)


def equivalence(differences: np.ndarray, margins: np.ndarray) -> np.ndarray:
    """Return the larger p of two one-sided tests per row; small if the mean is shown to be within ± its margin."""
    from statsmodels.stats.weightstats import ttost_paired

    columns = differences.T
    return np.asarray(ttost_paired(columns, np.zeros_like(columns), -margins, margins)[0])


def holm(p: np.ndarray) -> np.ndarray:
    """Return p adjusted by Holm's method (1979); NaN stays and counts as p = 1."""
    from statsmodels.stats.multitest import multipletests

    if len(p) == 0:
        return p
    # multipletests collects garbage at each call, 70 ms with a sweep's runs in memory; what is frozen it leaves alone.
    gc.freeze()
    try:
        adjusted = multipletests(np.where(np.isnan(p), 1.0, p), method="holm")[1]
    finally:
        gc.unfreeze()
    return np.where(np.isnan(p), np.nan, adjusted)
