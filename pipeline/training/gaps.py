"""The overfitting gap: how much better a network performs on training samples than on unseen samples.

Both sides are measured with the same fixed weights in inference mode. The accuracy that Keras prints during training is a
mean over changing weights, with dropout: it is off by up to 0.2 points, more than the differences between optimizers.
"""

from __future__ import annotations

Score = tuple[float, float]
"""(loss, accuracy)"""


def gap(train: Score, held_out: Score) -> dict[str, float]:
    """Return the two gaps, both positive for a network that overfits."""
    return {"accuracy": train[1] - held_out[1], "loss": held_out[0] - train[0]}


def curve_gaps(metrics: dict[str, float], held_out: str) -> dict[str, float]:
    """Return `gap/accuracy` and `gap/loss` at one point of the curve, against the split named `held_out`."""
    sides = [(metrics[f"{split}/loss"], metrics[f"{split}/accuracy"]) for split in ("train", held_out)]
    return {f"gap/{name}": value for name, value in gap(*sides).items()}


def final_gaps(train: Score, test: Score, val: Score | None) -> dict[str, float]:
    """Return the gaps with the final weights, on all samples.

    `overfitting_gap/…` compares with the held-out samples, which come from the same file as the training samples, or with the
    test samples if nothing is held out. `book_gap/…` always compares with the test samples, so it includes the difference in
    difficulty between the two files. `split_offset/…` is that difference: held-out against test samples, both unseen,
    positive if the test file is harder.
    """
    gaps = {"overfitting_gap": gap(train, val or test), "book_gap": gap(train, test)}
    if val:
        gaps["split_offset"] = gap(val, test)
    return {f"{kind}/{name}": value for kind, values in gaps.items() for name, value in values.items()}
