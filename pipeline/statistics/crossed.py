"""Intervals of one configuration's accuracy over seeds and images: another seed and other images would give another one.

All seeds see the same images, so the two are crossed: a two-way layout with random seeds and random images, one answer in
each cell. The variance of its mean is estimated from the mean squares of the analysis of variance, with Satterthwaite's
degrees of freedom (1946, Biometrics Bulletin 2, 110-114).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

Interval = tuple[float, float]
NONE: Interval = (math.nan, math.nan)


def of_answers(correct: np.ndarray, confidence: float) -> Interval:
    """Return the interval of the mean of `correct`, bool (seeds, images). NaN for a single seed."""
    values = np.asarray(correct, dtype=float)
    seeds, images = values.shape
    if seeds < 2 or images < 2:
        return NONE
    mean, by_seed, by_image = values.mean(), values.mean(axis=1), values.mean(axis=0)
    parts = [(float(by_seed.var(ddof=1)) / seeds, seeds - 1), (float(by_image.var(ddof=1)) / images, images - 1)]
    rest = float(((values - by_seed[:, None] - by_image + mean) ** 2).sum()) / ((seeds - 1) * (images - 1))
    both = sum(part for part, _ in parts)
    # Both parts contain the residual, so it is subtracted once; the variance is never below that of one part.
    variance = max(both - rest / (seeds * images), *(part for part, _ in parts))
    return _student(float(mean), variance, parts, confidence)


def of_shares(values: Sequence[float], accuracy: float, images: int, confidence: float) -> Interval:
    """Return the interval of the mean of `values`, a share per seed, without single answers.

    The images' part is binomial, `accuracy` (1 − `accuracy`) / `images`, as if all seeds failed on the same ones: it is
    too large rather than too small. Of a gap it is the part of its held-out side.
    """
    shares = np.asarray(values, dtype=float)
    if len(shares) < 2 or images < 2 or not np.isfinite(shares).all():
        return NONE
    parts = [
        (float(shares.var(ddof=1)) / len(shares), len(shares) - 1),
        (accuracy * (1 - accuracy) / images, images - 1),
    ]
    return _student(float(shares.mean()), sum(part for part, _ in parts), parts, confidence)


def _student(mean: float, variance: float, parts: Sequence[tuple[float, int]], confidence: float) -> Interval:
    """`parts` are the components of `variance`, each with its degrees of freedom."""
    total = sum(part for part, _ in parts)
    below = sum(part**2 / degrees for part, degrees in parts)
    degrees = total**2 / below if below else math.inf
    half = float(stdtrit(degrees, (1 + confidence) / 2)) * math.sqrt(variance)
    return mean - half, mean + half
