"""Training, held-out and test samples, drawn once and the same for every run of a sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from pipeline.cli.errors import UserError
from pipeline.config.digests import arrays_digest
from pipeline.config.run_config import Dataset
from pipeline.data.memory import release_memory
from pipeline.models import randomness

if TYPE_CHECKING:
    from pipeline.data.arrays import Arrays


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation of each feature, float32 (features,)."""

    mean: np.ndarray
    deviation: np.ndarray
    """1 for a constant feature."""

    @classmethod
    def of(cls, images: np.ndarray) -> Scaling:
        mean, deviation = images.mean(axis=0, dtype=np.float64), images.std(axis=0, dtype=np.float64)
        return cls(mean.astype(np.float32), np.where(deviation > 0, deviation, 1).astype(np.float32))

    def apply(self, images: np.ndarray) -> np.ndarray:
        return np.asarray((images - self.mean) / self.deviation)


@dataclass(frozen=True)
class Part:
    """Some samples of a file: float32 images (n, pixels) and uint8 labels (n,)."""

    source: np.ndarray
    """All images of the file, usually a memory map."""
    labels: np.ndarray
    """Labels of the chosen samples, label noise included."""
    chosen: np.ndarray | None = None
    """Indices into `source`, ascending; None for all."""
    scaling: Scaling | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def images(self) -> np.ndarray:
        """The chosen images. They are not cached, since a device keeps its own copy."""
        images = self.source
        if self.chosen is not None:
            images = np.take(images, self.chosen, axis=0)
            release_memory(self.source)
        return images if self.scaling is None else self.scaling.apply(images)


@dataclass(frozen=True)
class Split:
    """The samples to train on, to evaluate during training and to test on."""

    train: Part
    held_out: Part
    """The validation samples, or the test samples if there are none."""
    test: Part
    held_out_name: Literal["val", "test"]
    shape: tuple[int, ...]
    """Shape of one sample: (rows, columns) of an image, (features,) of a table row."""
    digest: str = ""
    """sha256 over the indices of training and held-out samples and the training labels; empty if not from a data set."""


def split(arrays: Arrays, dataset: Dataset) -> Split:
    """Split the training samples of `arrays` as `dataset` specifies. Raises UserError if there are too few.

    `random`: both parts are stratified by class and nested, so a larger training set contains every smaller one.
    `last`: the last samples are held out, the first ones are trained on.
    """
    samples = len(arrays.train_labels)
    if not 0 <= dataset.validation_size < samples:
        raise UserError(
            f"dataset.validation_size={dataset.validation_size}: expected 0 to {samples - 1}, "
            f"since {arrays.name} has {samples:,} training samples"
        )
    left = samples - dataset.validation_size
    used = dataset.train_size or left
    if used > left:
        raise UserError(
            f"dataset.train_size={dataset.train_size}: expected at most {left:,}, the training samples left"
        )
    if dataset.validation == "random":
        order = stratified_order(arrays.train_labels, dataset.validation_seed)
        held_out, rest = order[: dataset.validation_size], order[dataset.validation_size :]
    else:
        held_out, rest = np.arange(left, samples), np.arange(left)
    train, held_out = np.sort(rest[:used]), np.sort(held_out)
    labels = with_noise(arrays.train_labels[train], arrays.classes, dataset.label_noise, dataset.validation_seed)
    # From the training samples only.
    scaling = Scaling.of(arrays.train_images[train]) if dataset.standardize else None
    test = Part(arrays.test_images, arrays.test_labels, scaling=scaling)
    watched = Part(arrays.train_images, arrays.train_labels[held_out], held_out, scaling)
    return Split(
        train=Part(arrays.train_images, labels, train if used < samples else None, scaling),
        held_out=watched if len(held_out) else test,
        test=test,
        held_out_name="val" if len(held_out) else "test",
        shape=arrays.image_shape,
        digest=arrays_digest({"train": train, "held_out": held_out, "labels": labels}),
    )


def stratified_order(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return all indices of `labels` in a random order in which every stretch has the class proportions of the whole.

    Within a class the order is random; the k-th of the n samples of a class is placed at (k + 1/2) / n of the length.
    """
    drawn = randomness.random_integers(seed, "split", 0, len(labels))
    by_class = np.lexsort((drawn, labels))
    counts = np.bincount(labels)
    starts = np.cumsum(counts) - counts
    in_class = labels[by_class]
    places = (np.arange(len(labels)) - starts[in_class] + 0.5) / counts[in_class]
    return np.asarray(by_class[np.lexsort((drawn[by_class], places))])


def with_noise(labels: np.ndarray, classes: int, share: float, seed: int) -> np.ndarray:
    """Return `labels` with this share of them, rounded to whole samples, replaced by another class, uniformly at random."""
    count = round(share * len(labels))
    noisy = np.array(labels)
    if count:
        replaced = np.argsort(randomness.random_integers(seed, "label noise", 0, len(labels)), kind="stable")[:count]
        shift = 1 + randomness.random_integers(seed, "label noise", 1, len(labels))[replaced] % np.uint64(classes - 1)
        noisy[replaced] = (noisy[replaced].astype(np.uint64) + shift) % np.uint64(classes)
    return noisy
