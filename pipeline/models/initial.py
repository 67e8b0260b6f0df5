"""Initial weights. Keras's own differ between its backends for the same seed; these do not, so runs are paired by seed."""

from __future__ import annotations

from itertools import pairwise
from math import prod, sqrt
from typing import Any

import numpy as np

from pipeline.models import randomness

# (scale, fan, distribution) of Keras's VarianceScaling family: variance = scale / fan.
# Glorot and Bengio 2010, He et al. 2015, LeCun et al. 1998.
_VARIANCE_SCALING = {
    "glorot_uniform": (1.0, "average", "uniform"),
    "glorot_normal": (1.0, "average", "truncated_normal"),
    "he_uniform": (2.0, "in", "uniform"),
    "he_normal": (2.0, "in", "truncated_normal"),
    "lecun_uniform": (1.0, "in", "uniform"),
    "lecun_normal": (1.0, "in", "truncated_normal"),
}
_SD_OF_TRUNCATED = 0.87962566103423978
_PLAIN_SD = 0.05
"""Keras's default for `random_normal` and `truncated_normal` (standard deviation) and `random_uniform` (limit)."""


def kernel(initializer: str, seed: int, layer: int, shape: tuple[int, int], stddev: float | None = None) -> np.ndarray:
    """Return the kernel of dense layer `layer` (from 0), float64 (inputs, units), distributed like Keras's initializer.

    `stddev` applies to `random_normal`, `random_uniform` (the limit) and `truncated_normal` (before truncation).
    """
    spread = _PLAIN_SD if stddev is None else stddev
    if initializer in ("random_normal", "truncated_normal"):
        return _drawn(initializer, 0.0, spread, seed, layer, shape)
    if initializer == "random_uniform":
        return _drawn("uniform", -spread, spread, seed, layer, shape)
    return _variance_scaling(*_VARIANCE_SCALING[initializer], seed, layer, shape)


def of_keras(initializer: Any, seed: int, number: int, shape: tuple[int, ...]) -> tuple[np.ndarray, bool]:
    """Return weight `number` (from 0) of a network, float64, distributed like the Keras initializer, and whether it is random.

    Raises ValueError for an unknown initializer.
    """
    values = initializer.get_config() if initializer is not None else {}
    # Base classes too: Keras's GlorotUniform is a VarianceScaling.
    for kind in type(initializer).__mro__:
        if kind.__name__ in ("Zeros", "Ones", "Constant"):
            start = values["value"] if kind.__name__ == "Constant" else float(kind.__name__ == "Ones")
            return np.full(shape, start, np.float64), False
        if kind.__name__ == "VarianceScaling":
            scaling = initializer.scale, initializer.mode.removeprefix("fan_").replace("avg", "average")
            return _variance_scaling(*scaling, initializer.distribution, seed, number, shape), True
        if kind.__name__ in ("RandomNormal", "TruncatedNormal"):
            name = "random_normal" if kind.__name__ == "RandomNormal" else "truncated_normal"
            return _drawn(name, values["mean"], values["stddev"], seed, number, shape), True
        if kind.__name__ == "RandomUniform":
            return _drawn("uniform", values["minval"], values["maxval"], seed, number, shape), True
    raise ValueError(
        f"initializer {type(initializer).__name__}: expected one of Keras's normal, uniform and constant ones"
    )


def _variance_scaling(
    scale: float, fan: str, distribution: str, seed: int, number: int, shape: tuple[int, ...]
) -> np.ndarray:
    """Draw like Keras's VarianceScaling; the fans of a convolution include the size of its kernel."""
    field = prod(shape[:-2])
    fan_in, fan_out = (shape[-2] * field, shape[-1] * field) if len(shape) > 1 else (shape[0], shape[0])
    variance = scale / {"in": fan_in, "out": fan_out, "average": (fan_in + fan_out) / 2}[fan]
    if distribution == "uniform":
        limit = sqrt(3 * variance)
        return _drawn("uniform", -limit, limit, seed, number, shape)
    if distribution == "untruncated_normal":
        return _drawn("random_normal", 0.0, sqrt(variance), seed, number, shape)
    return _drawn("truncated_normal", 0.0, sqrt(variance) / _SD_OF_TRUNCATED, seed, number, shape)


def _drawn(kind: str, first: float, second: float, seed: int, number: int, shape: tuple[int, ...]) -> np.ndarray:
    """Draw with mean `first` and standard deviation `second`, or uniformly from `first` to `second`."""
    count = prod(shape)
    if kind == "uniform":
        middle, limit = (first + second) / 2, (second - first) / 2
        values = limit * (2 * randomness.uniform(seed, "kernel", number, count) - 1)
        return (values + middle if middle else values).reshape(shape)
    draw = randomness.normal if kind == "random_normal" else randomness.truncated_normal
    values = second * draw(seed, "kernel", number, count)
    return (values + first if first else values).reshape(shape)


def weights(initializer: str, seed: int, sizes: list[int], stddev: float | None = None) -> list[np.ndarray]:
    """Return float64 kernels and zero biases alternately, for layers of `sizes` (inputs, hidden …, classes)."""
    arrays: list[np.ndarray] = []
    for layer, shape in enumerate(pairwise(sizes)):
        arrays += [kernel(initializer, seed, layer, shape, stddev), np.zeros(shape[1])]
    return arrays
