"""Metrics of the final predictions, in addition to loss and accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.cli.errors import UserError
from pipeline.models import custom_code

Metric = Callable[[np.ndarray, np.ndarray], float]
"""A function of labels, uint8 (n,), and probabilities (n, classes)."""


def measure(names: Sequence[str], labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return the metrics with these names (see `values.METRICS`) or import paths, keyed by the last part of the name.

    Raises UserError for a custom metric that does not return a finite number.
    """
    found = {}
    for name in names:
        value = metric(name)(labels, probabilities)
        if not isinstance(value, int | float | np.number):
            raise UserError(f"training.metrics: {name}: expected a number, got {type(value).__name__}")
        if not np.isfinite(value):
            raise UserError(f"training.metrics: {name}: expected a finite number, got {value}")
        found[name.rpartition(".")[2]] = float(value)
    return found


def metric(name: str) -> Metric:
    if "." in name:
        own: Metric = custom_code.load(name, "training.metrics")
        return own
    if name.startswith("top_"):
        return lambda labels, probabilities: top_accuracy(labels, probabilities, int(name.split("_")[1]))
    return {"macro_f1": macro_f1, "brier_score": brier_score}[name]


def top_accuracy(labels: np.ndarray, probabilities: np.ndarray, most: int) -> float:
    """Return the share of samples whose class is among the `most` likeliest; ties go to the lower class."""
    likeliest = np.argsort(-probabilities, axis=1, kind="stable")[:, :most]
    return float((likeliest == labels[:, None]).any(axis=1).mean())


def macro_f1(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean F1 score over the classes; 0 for a class that occurs neither in labels nor in predictions."""
    classes = probabilities.shape[1]
    pairs = np.bincount(labels.astype(np.int64) * classes + probabilities.argmax(axis=1), minlength=classes**2)
    table = pairs.reshape(classes, classes)
    both = table.sum(axis=0) + table.sum(axis=1)
    return float(np.mean(2 * np.diag(table) / np.maximum(both, 1)))


def brier_score(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean squared distance between probabilities and the one-hot label (Brier 1950), 0 to 2."""
    own = probabilities[np.arange(len(labels)), labels]
    return float(np.mean((probabilities**2).sum(axis=1) - 2 * own + 1))
