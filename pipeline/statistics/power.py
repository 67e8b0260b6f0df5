"""What so many seeds can detect, and how many would decide.

A claim takes a p under alpha of the paired t test and a mean over the minimum effect, so its power is that of both
together; equivalence has the power of the t test alone (statsmodels' TTestPower).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from pipeline.statistics.declaration import SIGN_FLIP, Declaration

MOST_SEEDS = 100_000
"""More are not looked for: a number of seeds that nobody trains is no answer."""

CERTAIN = 1e6
"""An effect, in SDs, that stands for an infinite one: differences without scatter."""


NODES, WEIGHTS = (part / 2 for part in np.polynomial.legendre.leggauss(64))
"""Gauss and Legendre's rule for a mean over probabilities: at `0.5 + NODES`."""


def claim_power(effect: np.ndarray, minimum: np.ndarray, n: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """How often `n` seeds claim a true mean difference of `effect` SDs: p < alpha, and a mean over `minimum` SDs.

    `alpha` is that of the two-sided paired t test; a difference claimed on the wrong side is no detection. Of normal
    differences mean and SD are independent: given an SD s the mean has to pass the larger of the minimum and t s / √n.
    Averaged over s², which is χ² with n − 1 degrees over n − 1. With a minimum of 0 it is `power_of`.
    """
    from scipy import special

    effect, minimum, n, alpha = (
        np.asarray(each, dtype=float)[..., None] for each in np.broadcast_arrays(effect, minimum, n, alpha)
    )
    degrees = n - 1
    critical = special.stdtrit(degrees, 1 - alpha / 2)
    # The slow part, and of few numbers of seeds: it is computed once for each.
    different, place = np.unique(degrees[..., 0], return_inverse=True)
    scatter = np.sqrt(special.chdtri(different[:, None], 0.5 + NODES) / different[:, None])[
        place.reshape(degrees.shape[:-1])
    ]
    to_pass = np.maximum(minimum, critical * scatter / np.sqrt(n))
    return special.ndtr((effect - to_pass) * np.sqrt(n)) @ WEIGHTS


def detectable(
    sd: np.ndarray, minimum: np.ndarray, n: np.ndarray, alpha: np.ndarray, declared: Declaration
) -> np.ndarray:
    """The smallest true difference that `n` seeds claim at the declared power, row by row, in the unit of `sd`.

    It is over the minimum effect always. NaN under 2 seeds, where SD or minimum are unknown, and where the declared test has no
    p under alpha with so few.
    """
    sd, minimum, n, alpha = np.broadcast_arrays(np.asarray(sd, dtype=float), minimum, n, alpha)
    found = np.where(sd == 0, minimum, np.nan)
    known = (n >= 2) & (sd > 0) & ~np.isnan(minimum)
    if declared.claim_test == SIGN_FLIP:
        enough = n >= seeds_for_sign_flips(alpha)
        known, found = known & enough, np.where(enough, found, np.nan)
    if not known.any():
        return found
    least, seeds, level = minimum[known] / sd[known], n[known], alpha[known]
    low, high = least.copy(), least + 1
    while np.any(short := claim_power(high, least, seeds, level) < declared.power):
        high = np.where(short, 2 * high, high)
    for _ in range(40):
        middle = (low + high) / 2
        short = claim_power(middle, least, seeds, level) < declared.power
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    found[known] = high * sd[known]
    return found


def power_of(effect: np.ndarray, n: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Power of a one-sided, one-sample t test at `alpha` for a mean of `effect` SDs with `n` seeds.

    At half the alpha it is the power of a two-sided test to find the difference on the side where it lies. What a
    two-sided test adds on the wrong side is no detection, and scipy's noncentral t often gives NaN for it.
    """
    from statsmodels.stats.power import TTestPower

    found = TTestPower().power(np.minimum(effect, CERTAIN), n, alpha, alternative="larger")
    # On the right side it gives NaN only from some 36 standard errors on, where the power is 1 to the last bit.
    return np.where(np.isnan(found), 1.0, found)


def seeds_to_claim(
    difference: np.ndarray, sd: np.ndarray, minimum: np.ndarray, alpha: np.ndarray, power: float
) -> np.ndarray:
    """The fewest seeds that claim a true difference of that size with this power, row by row: see `claim_power`.

    `difference` over `minimum`, and both in the unit of `sd`. Infinite where `MOST_SEEDS` would not do, NaN where the SD
    is unknown.
    """
    difference, sd, minimum, alpha = np.broadcast_arrays(np.asarray(difference, dtype=float), sd, minimum, alpha)
    scatter = np.maximum(sd, difference / CERTAIN)

    def enough(n: np.ndarray, rows: np.ndarray) -> np.ndarray:
        in_sds = (difference[rows] / scatter[rows], minimum[rows] / scatter[rows])
        return claim_power(*in_sds, n, alpha[rows]) >= power

    return _fewest(enough, ~np.isnan(difference / scatter))


def seeds_to_be_equivalent(margin: np.ndarray, sd: np.ndarray, alpha: np.ndarray, power: float) -> np.ndarray:
    """The fewest seeds with which a one-sided paired t test at `alpha` shows a true 0 to be under `margin`.

    Row by row, both in one unit, with this power. Infinite where `MOST_SEEDS` would not do, NaN where the SD is unknown.
    """
    with np.errstate(divide="ignore"):
        effect = np.asarray(margin, dtype=float) / np.asarray(sd, dtype=float)
    alpha = np.broadcast_to(alpha, effect.shape)
    return _fewest(lambda n, rows: power_of(effect[rows], n, alpha[rows]) >= power, ~np.isnan(effect))


def _fewest(enough: Callable[[np.ndarray, np.ndarray], np.ndarray], known: np.ndarray) -> np.ndarray:
    """Per row the smallest n that is `enough`, which once true stays true as n grows; NaN where not `known`."""
    found = np.full(known.shape, np.nan)
    if not known.any():
        return found
    rows = np.flatnonzero(known)
    low, high = np.full(rows.shape, 1), np.full(rows.shape, MOST_SEEDS)
    reachable = enough(high, rows)
    # Bisection: `low` is never enough, `high` always.
    while np.any(high - low > 1):
        middle = np.maximum((low + high) // 2, 2)
        reached = enough(middle, rows)
        high, low = np.where(reached, middle, high), np.where(reached, low, np.minimum(middle, high - 1))
    found[rows] = np.where(reachable, high, np.inf)
    return found


def seeds_to_decide(
    sd: np.ndarray,
    sizes: Mapping[str, np.ndarray],
    comparisons: np.ndarray,
    declared: Declaration,
) -> np.ndarray:
    """Seeds with which both verdicts are within reach, at the first and strictest step of Holm's correction.

    `sizes` has `effect_to_find`, `minimum_effect` and `margin` for each row. With so many seeds, at the declared power, a
    true difference of the effect to find is claimed, and where there is none at all the equivalence test passes: it does
    when both one-sided tests pass, each of which may fail in half of the remaining cases. What lies between is nearer to
    the minimum than these seeds can tell. The effect is the declared one, not the one that was seen: power at an observed
    effect says no more than its p (Hoenig and Heisey 2001). Never fewer than the seeds to explore.
    """
    alpha = declared.alpha / comparisons
    effect, minimum, margin = (sizes[name] for name in ("effect_to_find", "minimum_effect", "margin"))
    for_difference = seeds_to_claim(effect, sd, minimum, alpha, declared.power)
    for_equivalence = seeds_to_be_equivalent(margin, sd, alpha, (1 + declared.power) / 2)
    least = np.full(len(alpha), float(declared.seeds_to_explore))
    if declared.claim_test == SIGN_FLIP:
        least = np.maximum(least, seeds_for_sign_flips(alpha))
    return np.maximum(np.maximum(for_difference, for_equivalence), least)


def seeds_for_sign_flips(alpha: np.ndarray) -> np.ndarray:
    """The fewest seeds whose smallest sign-flip p, 2 out of 2 to the power of n, is under alpha."""
    return np.floor(1 - np.log2(np.asarray(alpha, dtype=float))) + 1
