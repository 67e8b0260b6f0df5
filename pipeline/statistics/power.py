"""What a number of seeds can detect: the power of a paired t test, solved for the effect by scipy's noncentral t."""

from __future__ import annotations

import numpy as np

from pipeline.statistics.declaration import Declaration


def effect(n: np.ndarray, alpha: np.ndarray, power: float) -> np.ndarray:
    """Return the mean, in SDs, that a one-sided, one-sample t test at `alpha` with `n` seeds finds with this power.

    At half the alpha it is that of a two-sided test on the side where the difference lies. NaN under 2 seeds.
    """
    from scipy import special

    n = np.where(np.asarray(n) > 1, n, np.nan)
    return np.asarray(special.nctdtrinc(n - 1, 1 - power, special.stdtrit(n - 1, 1 - np.asarray(alpha))) / np.sqrt(n))


def detectable(
    sd: np.ndarray, margin: np.ndarray, n: np.ndarray, comparisons: np.ndarray, declared: Declaration
) -> np.ndarray:
    """Return the smallest true difference that `n` seeds claim at the declared power, row by row, in the unit of `sd`.

    A claim takes a p under alpha at the first and strictest step of Holm's correction for so many comparisons, and a mean
    over the margin; each of the two has the declared power. NaN under 2 seeds and where SD or margin are unknown.
    """
    from scipy import special

    alpha = declared.alpha / comparisons
    with np.errstate(divide="ignore", invalid="ignore"):
        for_p = sd * effect(n, alpha / 2, declared.power)
        for_size = margin + special.ndtri(declared.power) * sd / np.sqrt(n)
        return np.where(sd == 0, margin, np.maximum(for_p, for_size))


def seeds_to_decide(sd: np.ndarray, margin: np.ndarray, comparisons: np.ndarray, declared: Declaration) -> np.ndarray:
    """Return the number of seeds, of those at which claims are made, that decides; infinite if none does.

    So many show, at the declared power and the strictest step of Holm's correction, that two configurations without a
    difference are equivalent; then they also find one of twice the margin. Equivalence takes both one-sided tests, each of
    which may fail in half of the remaining cases. NaN where SD or margin are unknown.
    """
    alpha = declared.alpha / comparisons
    found = np.where(np.isnan(sd) | np.isnan(margin), np.nan, np.inf)
    for seeds in (declared.seeds_to_confirm, declared.seeds_to_explore):
        enough = sd * effect(np.full(len(sd), seeds), alpha, (1 + declared.power) / 2) <= margin
        found = np.where(enough, float(seeds), found)
    return found
