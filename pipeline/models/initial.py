"""Initial weights, drawn by us: one seed gives other numbers on each of Keras's backends, and runs must be paired."""

from __future__ import annotations

from itertools import pairwise
from math import sqrt

import numpy as np

from pipeline.models import randomness

# (scale, fan, distribution) of Keras's VarianceScaling family: variance = scale / fan.
# Glorot and Bengio 2010, He et al. 2015, LeCun et al. 1998.
_VARIANCE_SCALING = {
    "glorot_uniform": (1.0, "average", "uniform"),
    "glorot_normal": (1.0, "average", "truncated"),
    "he_uniform": (2.0, "in", "uniform"),
    "he_normal": (2.0, "in", "truncated"),
    "lecun_uniform": (1.0, "in", "uniform"),
    "lecun_normal": (1.0, "in", "truncated"),
}
_SD_OF_TRUNCATED = 0.87962566103423978
_PLAIN_SD = 0.05
"""Keras's default spread of `random_normal` and `truncated_normal` (SD) and of `random_uniform` (limit)."""


def kernel(initializer: str, seed: int, layer: int, shape: tuple[int, int], stddev: float | None = None) -> np.ndarray:
    """float64 (inputs, units): the kernel of dense layer `layer` (from 0), as Keras's initializer of that name is distributed.

    `stddev` is for the three whose spread does not follow from the layer; that of `truncated_normal` is before it is cut.
    """
    count = shape[0] * shape[1]
    spread = _PLAIN_SD if stddev is None else stddev
    if initializer == "random_normal":
        values = spread * randomness.normal(seed, "kernel", layer, count)
    elif initializer == "truncated_normal":
        values = spread * randomness.truncated_normal(seed, "kernel", layer, count)
    elif initializer == "random_uniform":
        values = spread * (2 * randomness.uniform(seed, "kernel", layer, count) - 1)
    else:
        scale, fan, distribution = _VARIANCE_SCALING[initializer]
        variance = scale / (shape[0] if fan == "in" else (shape[0] + shape[1]) / 2)
        if distribution == "uniform":
            values = sqrt(3 * variance) * (2 * randomness.uniform(seed, "kernel", layer, count) - 1)
        else:
            values = sqrt(variance) / _SD_OF_TRUNCATED * randomness.truncated_normal(seed, "kernel", layer, count)
    return values.reshape(shape)


def weights(initializer: str, seed: int, sizes: list[int], stddev: float | None = None) -> list[np.ndarray]:
    """float64 kernels and zero biases in turn, for layers between consecutive `sizes` (inputs, hidden …, classes)."""
    arrays: list[np.ndarray] = []
    for layer, shape in enumerate(pairwise(sizes)):
        arrays += [kernel(initializer, seed, layer, shape, stddev), np.zeros(shape[1])]
    return arrays
