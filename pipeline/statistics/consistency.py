"""Test whether two trainings that are not bit-identical differ in accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ALPHA = 0.001
"""False-positive rate: how often equivalent trainings are called inconsistent."""


@dataclass(frozen=True)
class Consistency:
    consistent: bool
    change: float = math.nan
    bound: float = math.nan
    """Largest change of the share between two seeds in all but ALPHA of cases, estimated from `seeds` seeds."""
    seeds: int = 0
    only_then: int = 0
    """With too few seeds: images that only one of the two networks classifies correctly,"""
    only_now: int = 0
    p: float = math.nan
    """and the p value of McNemar's exact test (1947, Psychometrika 12) on them."""


def against_seeds(then: float, now: float, seeds: Sequence[float]) -> Consistency:
    """Test whether a share changed no more than between two seeds; `seeds` has at least three shares.

    The difference of two independent draws has the SD √2·s; s is estimated from n seeds, hence Student's t with n − 1
    degrees of freedom. Two trainings of one seed differ at most as much as those of two.
    """
    from scipy import stats

    n = len(seeds)
    if n < 3:
        raise ValueError(f"{n} seeds: expected at least 3")
    spread = float(np.std(seeds, ddof=1))
    bound = min(float(stats.t.ppf(1 - ALPHA / 2, n - 1)) * math.sqrt(2) * spread, 1.0)  # a share cannot change by more
    change = now - then
    return Consistency(abs(change) <= bound, change, bound, n)


def on_images(labels: np.ndarray, then: np.ndarray, now: np.ndarray) -> Consistency:
    """Test whether two networks are each the only correct one equally often: McNemar's exact test.

    `then` and `now` are the predicted classes, integers (images,). The test is about these two sets of weights.
    """
    from scipy import stats

    right_then, right_now = np.equal(then, labels), np.equal(now, labels)
    only_then, only_now = int((right_then & ~right_now).sum()), int((right_now & ~right_then).sum())
    differing = only_then + only_now
    p = float(stats.binomtest(only_then, differing).pvalue) if differing else 1.0
    return Consistency(p >= ALPHA, only_then=only_then, only_now=only_now, p=p)
