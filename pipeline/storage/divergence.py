"""Where two trainings of one RunConfig part: the first thing that differs, in the order in which a training makes them."""

from __future__ import annotations

import numpy as np

from pipeline.training.result import RunResult

BEFORE = {"initial_weights": "the initial weights", "batch_order": "the order of the batches"}
AFTER = {"final_weights": "the final weights", "predictions": "the predictions"}


def first_divergence(then: RunResult, now: RunResult) -> str | None:
    """In words, what differs first between what was recorded and what came out now; None where every bit is the same.

    In order: initial weights, batch order, the numbers of each epoch, how it ended, the last figures, final weights,
    predictions. Numbers are compared as bits.
    """
    for name, words in BEFORE.items():
        if name in then.digests and then.digests[name] != now.digests.get(name):
            return f"{words} differ"
    for epoch in range(max(_epochs(then), _epochs(now))):
        for name in sorted(set(then.history) | set(now.history)):
            a, b = (_at(result, name, epoch) for result in (then, now))
            if a != b:
                return f"epoch {epoch + 1}: {name} was {a}, is {b}{_apart(a, b)}"
    if then.status != now.status:
        return f"it {then.status} then, and {now.status} now ({now.reason or then.reason})"
    for name, values in then.exact.items():
        if name in then.figures and values != now.exact.get(name):
            return f"{name} was {then.figures[name]!r}, is {now.figures.get(name)!r}"
    for name, words in AFTER.items():
        if name in then.digests and then.digests[name] != now.digests.get(name):
            return f"{words} differ{_changed(then, now) if name == 'predictions' else ''}"
    return None


def _epochs(result: RunResult) -> int:
    return max(map(len, result.history.values()), default=0)


def _at(result: RunResult, name: str, epoch: int) -> str:
    values = result.history.get(name, [])
    return float(values[epoch]).hex() if epoch < len(values) else "missing"


def _apart(a: str, b: str) -> str:
    if "missing" in (a, b):
        return ""
    first, second = float.fromhex(a), float.fromhex(b)
    return f" ({second - first:+.3g})"


def _changed(then: RunResult, now: RunResult) -> str:
    if then.predictions is None or now.predictions is None or len(then.predictions) != len(now.predictions):
        return ""
    return f": {int(np.sum(then.predictions != now.predictions)):,} of {len(then.predictions):,} images"
