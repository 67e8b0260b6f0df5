"""The overfitting gap: how much better a network does on what it was trained on than on what it was not.

Both sides are measured with the same fixed weights in inference mode. The accuracy that Keras prints while it trains
is a mean over moving weights, with dropout on: it is off by up to 0.2 points, more than optimizers differ.
"""

from __future__ import annotations


def gap(train: tuple[float, float], held_out: tuple[float, float]) -> dict[str, float]:
    """`(loss, accuracy)` on training and held-out samples -> the two gaps, both positive where a network overfits."""
    return {"accuracy": train[1] - held_out[1], "loss": held_out[0] - train[0]}


def curve_gaps(metrics: dict[str, float], held_out: str) -> dict[str, float]:
    """`gap/accuracy` and `gap/loss` of one epoch, against the held-out split named `held_out`."""
    sides = [(metrics[f"{split}/loss"], metrics[f"{split}/accuracy"]) for split in ("train", held_out)]
    return {f"gap/{name}": value for name, value in gap(*sides).items()}


def final_gaps(train: tuple[float, float], test: tuple[float, float]) -> dict[str, float]:
    """`overfitting_gap/accuracy` and `overfitting_gap/loss`: all training samples against the test split."""
    return {f"overfitting_gap/{name}": value for name, value in gap(train, test).items()}
