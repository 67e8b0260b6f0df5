"""Where two trainings of one RunConfig diverge: the first difference, in the order of training."""

from __future__ import annotations

import numpy as np

from pipeline.training.result import RunResult

BEFORE = {"initial_weights": "the initial weights", "batch_order": "the order of the batches"}
AFTER = {"final_weights": "the final weights", "predictions": "the predictions"}


def first_divergence(then: RunResult, now: RunResult) -> str | None:
    """Return a text on the first difference between a recorded and a new result; None if every bit is the same.

    The order is: initial weights, batch order, the metrics of each epoch, the status, the final metrics, final weights,
    predictions. Numbers are compared as bits.
    """
    for name, reason in BEFORE.items():
        if name in then.digests and then.digests[name] != now.digests.get(name):
            return f"{reason} differ"
    for epoch in sorted({*then.epochs, *now.epochs}):
        for name in sorted(set(then.history) | set(now.history)):
            a, b = (_at(result, name, epoch) for result in (then, now))
            if a != b:
                return f"epoch {epoch}: {name} was {a}, is {b}{_difference(a, b)}"
    if then.status != now.status:
        return f"the status was {then.status}, is {now.status} ({now.reason or then.reason})"
    for name, values in then.exact.items():
        if name in then.metrics and values != now.exact.get(name):
            return f"{name} was {then.metrics[name]!r}, is {now.metrics.get(name)!r}"
    for name, reason in AFTER.items():
        if name in then.digests and then.digests[name] != now.digests.get(name):
            return f"{reason} differ{_changed_predictions(then, now) if name == 'predictions' else ''}"
    return None


def _at(result: RunResult, name: str, epoch: int) -> str:
    """Return the value of a curve at `epoch` in hexadecimal, or `missing`."""
    values = dict(zip(result.epochs, result.history.get(name, []), strict=False))
    return float(values[epoch]).hex() if epoch in values else "missing"


def _difference(a: str, b: str) -> str:
    if "missing" in (a, b):
        return ""
    return f" ({float.fromhex(b) - float.fromhex(a):+.3g})"


def _changed_predictions(then: RunResult, now: RunResult) -> str:
    if then.predictions is None or now.predictions is None or len(then.predictions) != len(now.predictions):
        return ""
    return f": {int(np.sum(then.predictions != now.predictions)):,} of {len(then.predictions):,} samples"
