"""Samples as a file holds them, before they are scaled: what every format is read to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.cli.errors import UserError
from pipeline.data.sources import MOST_CLASSES


@dataclass(frozen=True)
class Samples:
    images: np.ndarray
    """uint8 or float32: (n, rows, columns) of pictures, (n, features) of rows of a table."""
    labels: np.ndarray
    """uint8 (n,)."""


@dataclass(frozen=True)
class Decoded:
    train: Samples
    test: Samples
    classes: tuple[str, ...]
    """Their names, by label."""
    brightest: int
    """The value that becomes 1.0; 1 for numbers that stay as they are."""
    features: tuple[str, ...] = ()
    """Names of the columns of a table: `age`, or `colour=red` where a category became a column of 0 and 1."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return self.train.images.shape[1:]


def counted(labels: np.ndarray, first: int, classes: int, name: str) -> np.ndarray:
    """`labels` counted from 0, as uint8. `name` is that of an error: the file, and the array in it. Raises UserError."""
    wrong = (labels < first) | (labels >= first + classes)
    if wrong.any():
        place = int(np.argmax(wrong))
        raise UserError(f"{name}: label {place:,} is {labels[place]}, expected {first} to {first + classes - 1}")
    return np.asarray(labels - labels.dtype.type(first)).astype(np.uint8)


def class_names(declared: int | tuple[str, ...] | None, labels: np.ndarray, first: int, name: str) -> tuple[str, ...]:
    """Of the classes declared, else of those up to the largest of the training `labels`. Raises UserError."""
    if isinstance(declared, tuple):
        return declared
    count = declared or int(labels.max()) - first + 1
    if not 2 <= count <= MOST_CLASSES:
        raise UserError(
            f"{name}: labels from {labels.min()} to {labels.max()} make {max(count, 0):,} classes, expected 2 to "
            f"{MOST_CLASSES}; source.first_label says where they begin"
        )
    return tuple(str(first + label) for label in range(count))
