"""Uncertainty over seeds and images together: another seed, and other test images, would have given another accuracy.

Seeds and images are crossed: all seeds see the same images. So both are drawn anew, each on its own, and a seed's answers
come along with every image drawn: the pigeonhole bootstrap (Owen 2007, Annals of Applied Statistics 1, 386-411; for
products of multinomial weights Owen and Eckles 2012). No exact bootstrap of a crossed mean exists (McCullagh 2000,
Bernoulli 6); this one overstates the part of the variance that belongs to single answers, and is never too narrow by that.
With few seeds it is by a factor of √((S − 1) / S) in the part that belongs to seeds, as every bootstrap over S of them is.
`scipy.stats.bootstrap` draws along one axis only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.statistics.declaration import Declaration

BATCH = 1_000
"""Repetitions drawn at once; 1,000 with 500 patterns of answers take 8 MB."""


@dataclass(frozen=True)
class Bootstrap:
    """A mean with its percentile interval; shares in [0, 1] for accuracies."""

    estimate: float
    low: float
    high: float
    standard_error: float
    seeds: int
    images: int

    @property
    def over(self) -> str:
        """What was drawn anew."""
        return "seeds and images" if self.seeds > 1 else "images only, there being one seed"


def accuracy(correct: np.ndarray, declared: Declaration) -> Bootstrap:
    """Accuracy of one configuration from `correct`, bool (seeds, images). Raises ValueError where it is empty."""
    return _crossed(np.asarray(correct, dtype=np.int8), declared)


def difference(first: np.ndarray, second: np.ndarray, declared: Declaration) -> Bootstrap:
    """Accuracy of `first` minus that of `second`, both bool (seeds, images), of the same seeds and images in one order."""
    if np.shape(first) != np.shape(second):
        raise ValueError(f"shapes {np.shape(first)} and {np.shape(second)}: expected the same seeds and images")
    return _crossed(np.asarray(first, dtype=np.int8) - np.asarray(second, dtype=np.int8), declared)


def _crossed(values: np.ndarray, declared: Declaration) -> Bootstrap:
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
    tail = (1 - declared.confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    error = float(means.std(ddof=1)) if len(means) > 1 else math.nan
    return Bootstrap(float(values.mean()), float(low), float(high), error, seeds, images)
