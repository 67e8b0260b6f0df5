"""What so many seeds can detect, and how many would decide: the power of the paired t test (statsmodels' TTestPower)."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from pipeline.statistics.declaration import SIGN_FLIP, Declaration

MOST_SEEDS = 100_000
"""More are not looked for: a number of seeds that nobody trains is no answer."""

CERTAIN = 1e6
"""An effect, in SDs, that stands for an infinite one: differences without scatter."""


@lru_cache(maxsize=1024)
def detectable_effect(n: int, alpha: float, power: float) -> float:
    """The smallest mean difference, in SDs of the difference, that `n` seeds detect with this power; NaN under 2."""
    from scipy.optimize import brentq

    if n < 2:
        return math.nan

    def missing(effect: float) -> float:
        return float(power_of(np.array(effect), np.array(n), np.array(alpha / 2))) - power

    # TTestPower.solve_power searches up to a fixed bound, and returns that bound where few seeds need more.
    high = 1.0
    while missing(high) < 0:
        high *= 2
    return float(brentq(missing, 0, high))


def power_of(effect: np.ndarray, n: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Power of a one-sided, one-sample t test at `alpha` for a mean of `effect` SDs with `n` seeds.

    At half the alpha it is the power of a two-sided test to find the difference on the side where it lies. What a
    two-sided test adds on the wrong side is no detection, and scipy's noncentral t often gives NaN for it.
    """
    from statsmodels.stats.power import TTestPower

    found = TTestPower().power(np.minimum(effect, CERTAIN), n, alpha, alternative="larger")
    # On the right side it gives NaN only from some 36 standard errors on, where the power is 1 to the last bit.
    return np.where(np.isnan(found), 1.0, found)


def seeds_to_detect(difference: np.ndarray, sd: np.ndarray, alpha: np.ndarray, power: float) -> np.ndarray:
    """The fewest seeds with which a one-sided paired t test at `alpha` finds a difference of that size with this power.

    Row by row; `difference` over 0 and `sd` in one unit. Infinite where `MOST_SEEDS` would not do, NaN where the SD is
    unknown.
    """
    with np.errstate(divide="ignore"):
        effect = np.asarray(difference, dtype=float) / np.asarray(sd, dtype=float)
    found = np.full(effect.shape, np.nan)
    known = ~np.isnan(effect)
    effect, alpha = effect[known], np.broadcast_to(alpha, known.shape)[known]
    low, high = np.full(effect.shape, 1), np.full(effect.shape, MOST_SEEDS)
    enough = power_of(effect, high, alpha) >= power
    # Power grows with the seeds, so bisection finds where it passes: `low` is never enough, `high` always.
    while np.any(high - low > 1):
        middle = np.maximum((low + high) // 2, 2)
        reached = power_of(effect, middle, alpha) >= power
        high, low = np.where(reached, middle, high), np.where(reached, low, np.minimum(middle, high - 1))
    found[known] = np.where(enough, high, np.inf)
    return found


def seeds_to_decide(
    sd: np.ndarray, minimum: np.ndarray, margin: np.ndarray, comparisons: np.ndarray, declared: Declaration
) -> np.ndarray:
    """Seeds with which both verdicts are within reach, at the first and strictest step of Holm's correction.

    With so many, at the declared power, a true difference of the minimum effect has p < alpha, and where there is none at
    all the equivalence test passes: it does when both one-sided tests pass, each of which may fail in half of the
    remaining cases. The effect is the declared one, not the one that was seen: power at an observed effect says no more
    than its p (Hoenig and Heisey 2001). Never fewer than the seeds to explore.
    """
    alpha = declared.alpha / comparisons
    for_difference = seeds_to_detect(minimum, sd, alpha / 2, declared.power)
    for_equivalence = seeds_to_detect(margin, sd, alpha, (1 + declared.power) / 2)
    least = np.full(len(alpha), float(declared.seeds_to_explore))
    if declared.claim_test == SIGN_FLIP:
        least = np.maximum(least, seeds_for_sign_flips(alpha))
    return np.maximum(np.maximum(for_difference, for_equivalence), least)


def seeds_for_sign_flips(alpha: np.ndarray) -> np.ndarray:
    """The fewest seeds whose smallest sign-flip p, 2 out of 2 to the power of n, is under alpha."""
    return np.floor(1 - np.log2(np.asarray(alpha, dtype=float))) + 1
