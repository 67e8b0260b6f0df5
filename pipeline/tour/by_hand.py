"""A dense network written out in numpy: forward pass, softmax, losses, backward pass, and the steps of four optimizers.

Weights are a list: kernel (inputs, units) and bias (units,) of each layer in turn, from the pixels to the classes. Rows
of `x` are samples; labels are one-hot rows. Whatever type the arrays have, the results have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Weights = list[np.ndarray]
State = dict[str, np.ndarray]


def relu(z: np.ndarray) -> np.ndarray:
    return np.maximum(z, 0)


def sigmoid(z: float) -> float:
    return float(1 / (1 + np.exp(-z)))


def softmax(scores: np.ndarray) -> np.ndarray:
    """Scores (…, classes) -> probabilities: positive, and 1 in sum."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))  # the same quotient, and no overflow
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def forward(x: np.ndarray, weights: Weights) -> list[np.ndarray]:
    """What goes into each layer, the batch itself first, and at the end the probabilities (n, classes)."""
    values = [x]
    for layer in range(0, len(weights), 2):
        z = values[-1] @ weights[layer] + weights[layer + 1]
        values.append(relu(z) if layer + 2 < len(weights) else softmax(z))
    return values


def cross_entropy(p: np.ndarray, y: np.ndarray) -> float:
    """Mean over the batch of −log of the probability that the label got, in nats."""
    return float(-np.log((p * y).sum(axis=1)).mean())


def squared_error(p: np.ndarray, y: np.ndarray) -> float:
    """Mean over batch and classes, as Keras takes it."""
    return float(np.square(p - y).mean())


def into_softmax(p: np.ndarray, y: np.ndarray, loss: str) -> np.ndarray:
    """Each sample's own loss, derived by its scores (n, classes)."""
    if loss == "cross-entropy":
        return p - y  # the exponential and the logarithm cancel
    slope = 2 * (p - y) / p.shape[1]
    return np.asarray(p * (slope - (slope * p).sum(axis=1, keepdims=True)))


def backward(values: list[np.ndarray], y: np.ndarray, weights: Weights, loss: str = "cross-entropy") -> Weights:
    """The gradient of the mean loss by every weight, from `values` of the forward pass: the chain rule, last layer first."""
    gradients: Weights = []
    error = into_softmax(values[-1], y, loss) / len(y)
    for layer in reversed(range(0, len(weights), 2)):
        before = values[layer // 2]
        gradients = [before.T @ error, error.sum(axis=0), *gradients]
        if layer:
            error = (error @ weights[layer].T) * (before > 0)  # relu lets through where it was open
    return gradients


def loss_and_gradient(x: np.ndarray, y: np.ndarray, weights: Weights) -> tuple[float, Weights]:
    values = forward(x, weights)
    return cross_entropy(values[-1], y), backward(values, y, weights)


# --- one step from weights w along a gradient g: changes w in place; s is the memory of this array, t counts from 1


def sgd(w: np.ndarray, g: np.ndarray, s: State, t: int, h: Mapping[str, Any]) -> None:
    w -= h["learning_rate"] * g


def momentum(w: np.ndarray, g: np.ndarray, s: State, t: int, h: Mapping[str, Any]) -> None:
    """The step remembers the steps before it, as a ball its speed (Polyak 1964)."""
    s["speed"] = h["momentum"] * s.get("speed", 0) - h["learning_rate"] * g
    w += s["speed"]


def rmsprop(w: np.ndarray, g: np.ndarray, s: State, t: int, h: Mapping[str, Any]) -> None:
    """Each weight's step is measured by how large its gradient has been of late (Hinton 2012)."""
    s["square"] = h["rho"] * s.get("square", 0) + (1 - h["rho"]) * g * g
    w -= h["learning_rate"] * g / np.sqrt(s["square"] + h["epsilon"])


def adam(w: np.ndarray, g: np.ndarray, s: State, t: int, h: Mapping[str, Any]) -> None:
    """Both: a remembered direction, measured by a remembered size (Kingma and Ba 2015, the form before section 2.1)."""
    s["mean"] = h["beta_1"] * s.get("mean", 0) + (1 - h["beta_1"]) * g
    s["square"] = h["beta_2"] * s.get("square", 0) + (1 - h["beta_2"]) * g * g
    rate = h["learning_rate"] * np.sqrt(1 - h["beta_2"] ** t) / (1 - h["beta_1"] ** t)
    w -= rate * s["mean"] / (np.sqrt(s["square"]) + h["epsilon"])


Step = Callable[[np.ndarray, np.ndarray, State, int, Mapping[str, Any]], None]
STEPS: dict[str, Step] = {"sgd": sgd, "momentum": momentum, "rmsprop": rmsprop, "adam": adam}
