"""Whether two trainings that differ in bits differ in anything else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ALPHA = 0.001
"""How often two trainings that are alike are called inconsistent."""


@dataclass(frozen=True)
class Consistency:
    consistent: bool
    change: float = math.nan
    bound: float = math.nan
    """Most that the share changes from one of so many `seeds` to another, in all but ALPHA of cases."""
    seeds: int = 0
    only_then: int = 0
    """Where there are too few seeds: images that only one of the two networks gets right,"""
    only_now: int = 0
    p: float = math.nan
    """and McNemar's exact test (1947, Psychometrika 12) of them."""


def against_seeds(then: float, now: float, seeds: Sequence[float]) -> Consistency:
    """Whether a share changed by no more than it does between two seeds, of which `seeds` has at least three.

    The difference of two independent draws has the SD √2·s; s is estimated from n seeds, hence Student's t with n − 1
    degrees of freedom. Two trainings of one seed are at most as far apart as those of two.
    """
    from scipy import stats

    n = len(seeds)
    if n < 3:
        raise ValueError(f"{n} seeds: expected at least 3")
    spread = float(np.std(seeds, ddof=1))
    bound = min(float(stats.t.ppf(1 - ALPHA / 2, n - 1)) * math.sqrt(2) * spread, 1.0)  # of a share no more is possible
    change = now - then
    return Consistency(abs(change) <= bound, change, bound, n)


def on_images(labels: np.ndarray, then: np.ndarray, now: np.ndarray) -> Consistency:
    """Whether the images that only one of two networks gets right fall to both alike: McNemar's exact test.

    `then` and `now` are the classes that each gives to the images, integers (images,). It is about these two sets of weights.
    """
    from scipy import stats

    right_then, right_now = np.equal(then, labels), np.equal(now, labels)
    only_then, only_now = int((right_then & ~right_now).sum()), int((right_now & ~right_then).sum())
    differing = only_then + only_now
    p = float(stats.binomtest(only_then, differing).pvalue) if differing else 1.0
    return Consistency(p >= ALPHA, only_then=only_then, only_now=only_now, p=p)
