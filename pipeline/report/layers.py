"""What each layer of the best network makes of the test images: how it sifts the digits.

A dense network's forward pass takes a few lines; Keras would take seconds to import. What it gives is held against the
predictions that were recorded when the run was trained: where the two part, nothing is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import erf, expit

from pipeline.config.run_config import Model
from pipeline.data.arrays import Arrays
from pipeline.statistics import separation
from pipeline.training.result import RunResult

MEASURED, DRAWN = 2_000, 400
"""Test images, evenly spread over the split, by which separation is measured; and how many of these are drawn."""

AGREEMENT = 0.999
"""Share of the images that the forward pass must put into the recorded class. Bits differ from library to library."""

_EPSILON = 1e-3
"""What Keras's batch normalisation adds to a variance."""

_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
"""Klambauer et al. 2017, Self-Normalizing Neural Networks."""

Function = Callable[[np.ndarray], np.ndarray]


def _elu(x: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


ACTIVATIONS: dict[str, Function] = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": expit,
    "elu": _elu,
    "selu": lambda x: _SELU_SCALE * _elu(x, _SELU_ALPHA),
    "gelu": lambda x: x * (1 + erf(x / np.sqrt(2))) / 2,
    "silu": lambda x: x * expit(x),
    "softplus": lambda x: np.logaddexp(x, 0),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "linear": lambda x: x,
}
"""As Keras defines those of conf/model/dense.yaml."""


@dataclass(frozen=True)
class Layer:
    """The test images as one layer hands them on."""

    name: str
    units: int
    places: np.ndarray
    """Float (at most DRAWN, 2): on the first two principal components."""
    labels: np.ndarray
    """Integers (at most DRAWN,)."""
    seen: float
    """Share of the variance that the two components hold."""
    hit: float
    """Neighbourhood hit in the layer itself, in all its dimensions."""
    hit_in_plane: float
    between: float
    """Share of the variance that lies between the classes."""
    measured: int


def outputs(model: Model, weights: dict[str, np.ndarray], images: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Name and output (n, units) of each layer, from the pixels (n, pixels) to what the softmax is fed with.

    Raises KeyError where `weights` are not those of a network like `model`.
    """
    found = [("pixels", np.asarray(images, dtype=np.float32).reshape(len(images), -1))]
    activation = ACTIVATIONS[model.activation]
    for number in range(1, len(model.hidden) + 1):
        values = found[-1][1] @ weights[f"hidden_{number}/kernel"] + weights[f"hidden_{number}/bias"]
        if model.batch_normalization:
            gamma, beta, mean, variance = (
                weights[f"normalization_{number}/{part}"]
                for part in ("gamma", "beta", "moving_mean", "moving_variance")
            )
            values = gamma * (values - mean) / np.sqrt(variance + _EPSILON) + beta
        found.append((f"hidden layer {number}" if len(model.hidden) > 1 else "hidden layer", activation(values)))
    found.append(("output, before the softmax", found[-1][1] @ weights["classes/kernel"] + weights["classes/bias"]))
    return found


def layers(result: RunResult, arrays: Arrays) -> list[Layer]:
    """Each layer of the run's network; empty where its weights were not kept, or do not give what was recorded."""
    if not result.weights or result.predictions is None:
        return []
    chosen = np.unique(np.linspace(0, len(arrays.test_labels) - 1, MEASURED).astype(int))
    try:
        found = outputs(result.job.model, result.weights, np.asarray(arrays.test_images)[chosen])
    except (KeyError, ValueError):
        return []
    if np.equal(found[-1][1].argmax(axis=1), result.predictions[chosen]).mean() < AGREEMENT:
        return []
    labels = np.asarray(arrays.test_labels)[chosen]
    drawn = np.unique(np.linspace(0, len(labels) - 1, DRAWN).astype(int))
    return [_layer(name, values, labels, drawn) for name, values in found]


def _layer(name: str, values: np.ndarray, labels: np.ndarray, drawn: np.ndarray) -> Layer:
    places, seen = separation.plane(values)
    return Layer(
        name=name,
        units=values.shape[1],
        places=places[drawn],
        labels=labels[drawn],
        seen=seen,
        hit=separation.neighbourhood_hit(values, labels),
        hit_in_plane=separation.neighbourhood_hit(places, labels),
        between=separation.between_classes(values, labels),
        measured=len(labels),
    )
