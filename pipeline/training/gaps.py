"""The overfitting gap: how much better a network does on what it was trained on than on what it was not.

Both sides are measured with the same fixed weights in inference mode. The accuracy that Keras prints while it trains
is a mean over moving weights, with dropout on: it is off by up to 0.2 points, more than optimizers differ.
"""

from __future__ import annotations

Score = tuple[float, float]
"""(loss, accuracy)"""


def gap(train: Score, held_out: Score) -> dict[str, float]:
    """The two gaps, both positive where a network overfits."""
    return {"accuracy": train[1] - held_out[1], "loss": held_out[0] - train[0]}


def curve_gaps(metrics: dict[str, float], held_out: str) -> dict[str, float]:
    """`gap/accuracy` and `gap/loss` of one point of the curve, against the held-out split named `held_out`."""
    sides = [(metrics[f"{split}/loss"], metrics[f"{split}/accuracy"]) for split in ("train", held_out)]
    return {f"gap/{name}": value for name, value in gap(*sides).items()}


def final_gaps(train: Score, test: Score, val: Score | None) -> dict[str, float]:
    """Gaps with the final weights, on all samples.

    `overfitting_gap/…` is against the held-out samples, which come from the same file as the training samples; against the
    test samples only where nothing is held out. `book_gap/…` is against the test samples, always, so it contains what makes
    the test file harder or easier than the training file. `split_offset/…` is that part: held-out against test samples, of
    which the network has seen neither, both positive where the test file is harder.
    """
    gaps = {"overfitting_gap": gap(train, val or test), "book_gap": gap(train, test)}
    if val:
        gaps["split_offset"] = gap(val, test)
    return {f"{kind}/{name}": value for kind, values in gaps.items() for name, value in values.items()}
