"""Uncertainty over seeds and images together: another seed, and other test images, would have given another accuracy.

Seeds and images are crossed: all seeds see the same images. So both are drawn anew, each on its own, and a seed's answers
come along with every image drawn: the pigeonhole bootstrap (Owen 2007, Annals of Applied Statistics 1, 386-411; for
products of multinomial weights Owen and Eckles 2012). No exact bootstrap of a crossed mean exists (McCullagh 2000,
Bernoulli 6); this one overstates the part of the variance that belongs to single answers, and is never too narrow by that.

With few seeds every bootstrap over S of them is too narrow: it takes their variance over S, not S − 1, and its percentiles
know no Student's t (Hesterberg 2015, The American Statistician 69, 371-386): of normal values a percentile interval of 95 %
covers 75 % with 3 seeds and 90 with 10 (simulated). So the interval is Student's with the bootstrap's standard error, the
part of the seeds enlarged by S / (S − 1), and Satterthwaite's degrees of freedom (1946, Biometrics Bulletin 2, 110-114) of
the two parts.
`scipy.stats.bootstrap` draws along one axis only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from pipeline.statistics.declaration import Declaration

BATCH = 1_000
"""Repetitions drawn at once; 1,000 with 500 patterns of answers take 8 MB."""


@dataclass(frozen=True)
class Bootstrap:
    """A mean with its interval; shares in [0, 1] for accuracies."""

    estimate: float
    low: float
    high: float
    standard_error: float
    seeds: int
    images: int


def accuracy(correct: np.ndarray, declared: Declaration) -> Bootstrap:
    """Accuracy of one configuration from `correct`, bool (seeds, images). Raises ValueError where it is empty."""
    return _crossed(np.asarray(correct, dtype=np.int8), 0.0, declared)


def difference(first: np.ndarray, second: np.ndarray, declared: Declaration) -> Bootstrap:
    """Accuracy of `first` minus that of `second`, both bool (seeds, images), of the same seeds and images in one order."""
    if np.shape(first) != np.shape(second):
        raise ValueError(f"shapes {np.shape(first)} and {np.shape(second)}: expected the same seeds and images")
    return _crossed(np.asarray(first, dtype=np.int8) - np.asarray(second, dtype=np.int8), -1.0, declared)


def _crossed(values: np.ndarray, lowest: float, declared: Declaration) -> Bootstrap:
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"shape {values.shape}: expected at least one seed and one image")
    seeds, images = values.shape
    # Images that all seeds answer alike are one: of 10,000 some hundred patterns are left, and counts of patterns drawn from
    # a multinomial distribution are exactly those of images drawn one by one.
    patterns, counts = np.unique(values, axis=1, return_counts=True)
    random = np.random.default_rng(declared.random_seed)
    means = np.empty(declared.bootstrap_repetitions)
    for start in range(0, len(means), BATCH):
        size = min(BATCH, len(means) - start)
        of_seeds = random.multinomial(seeds, np.full(seeds, 1 / seeds), size=size)
        of_images = random.multinomial(images, counts / images, size=size)
        means[start : start + size] = np.einsum("rp,rp->r", of_seeds @ patterns.astype(float), of_images) / values.size
    known = max(seeds - 1, 1)
    of_seeds_alone = float(values.mean(axis=1).var()) / known
    of_images_alone = float(counts @ (patterns.mean(axis=0) - values.mean()) ** 2) / images**2
    # What a bootstrap over seeds falls short of their part by; with one seed there is none.
    variance = float(means.var(ddof=1)) + of_seeds_alone / seeds
    error = math.sqrt(variance)
    degrees = _satterthwaite([(of_seeds_alone, known), (of_images_alone, max(images - 1, 1))])
    half = float(stdtrit(degrees, (1 + declared.confidence) / 2)) * error
    estimate = float(values.mean())
    low, high = max(estimate - half, lowest), min(estimate + half, 1.0)
    return Bootstrap(estimate, low, high, error, seeds, images)


def _satterthwaite(parts: Sequence[tuple[float, int]]) -> float:
    """Degrees of freedom of a sum of variances, from each with its own; infinite where nothing varies."""
    total = sum(part for part, _ in parts)
    return total**2 / below if (below := sum(part**2 / degrees for part, degrees in parts)) else math.inf
