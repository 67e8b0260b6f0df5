"""Decoded samples before scaling, which every format is read into."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.cli.errors import UserError
from pipeline.cli.formatting import listed
from pipeline.data import idx
from pipeline.data.sources import MOST_CLASSES, File, Idx, Npz

KEYS = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True)
class Samples:
    images: np.ndarray
    """uint8 or float32: (n, rows, columns) for images, (n, features) for table rows."""
    labels: np.ndarray
    """uint8 (n,)."""


@dataclass(frozen=True)
class Decoded:
    train: Samples
    test: Samples
    classes: tuple[str, ...]
    """Class names by label."""
    brightest: int
    """The value that becomes 1.0; 1 if numbers stay unchanged."""
    features: tuple[str, ...] = ()
    """Column names of a table: `age`, or `colour=red` for a one-hot encoded category."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.train.images.shape[1:]


def zero_based(labels: np.ndarray, first: int, classes: int, name: str) -> np.ndarray:
    """Return `labels` minus `first`, as uint8. Raises UserError, with `name`, for a label out of range."""
    wrong = (labels < first) | (labels >= first + classes)
    if wrong.any():
        index = int(np.argmax(wrong))
        raise UserError(f"{name}: label {index:,} is {labels[index]}, expected {first} to {first + classes - 1}")
    return np.asarray(labels - labels.dtype.type(first)).astype(np.uint8)


def class_names(declared: int | tuple[str, ...] | None, labels: np.ndarray, first: int, name: str) -> tuple[str, ...]:
    """Return the declared class names, or the numbers up to the largest of the training `labels`. Raises UserError."""
    if isinstance(declared, tuple):
        return declared
    count = declared or int(labels.max()) - first + 1
    if not 2 <= count <= MOST_CLASSES:
        raise UserError(
            f"{name}: labels from {labels.min()} to {labels.max()} make {max(count, 0):,} classes, expected 2 to "
            f"{MOST_CLASSES}; source.first_label sets the first one"
        )
    return tuple(str(first + label) for label in range(count))


def of_idx(source: Idx, content: Mapping[File, bytes], names: Mapping[File, str]) -> Decoded:
    """Decode the four unpacked files; `names` are used in errors. Raises UserError."""
    shape, classes = None, None
    made = []
    for images_file, labels_file in (
        (source.train_images, source.train_labels),
        (source.test_images, source.test_labels),
    ):
        images = idx.images(content[images_file], shape, names[images_file])
        labels = idx.decode(content[labels_file], idx.LABELS, names[labels_file])
        shape = images.shape[1], images.shape[2]
        classes = classes or class_names(source.classes, labels, source.first_label, names[labels_file])
        numbered = zero_based(labels, source.first_label, len(classes), names[labels_file])
        if len(images) != len(labels):
            raise UserError(
                f"{names[images_file]}: count is {len(images):,}, but {names[labels_file]} has {len(labels):,} labels"
            )
        made.append(Samples(np.swapaxes(images, 1, 2) if source.transposed else images, numbered))
    return Decoded(made[0], made[1], classes or (), source.brightest)


def of_npz(source: Npz, data: bytes, name: str) -> Decoded:
    """Decode the `numpy.savez` file `data`; `name` is used in errors. Raises UserError."""
    x_train, y_train, x_test, y_test = _arrays(data, name)
    train, test = _numbers(x_train, f"{name}: x_train"), _numbers(x_test, f"{name}: x_test")
    if test.shape[1:] != train.shape[1:]:
        raise UserError(f"{name}: a sample of x_test has the shape {test.shape[1:]}, of x_train {train.shape[1:]}")
    brightest = source.brightest or (255 if train.dtype == test.dtype == np.uint8 else 1)
    if train.ndim == 3:
        for key, images in (("x_train", train), ("x_test", test)):
            _check_pixels(images, brightest, f"{name}: {key}")
    for key, labels, samples in (("y_train", y_train, train), ("y_test", y_test, test)):
        if labels.dtype.kind not in "iu" or labels.shape != (len(samples),):
            got = f"{labels.dtype} of shape {labels.shape}"
            raise UserError(f"{name}: {key} is {got}, expected {len(samples):,} whole numbers in one dimension")
    classes = class_names(source.classes, y_train, source.first_label, f"{name}: y_train")
    numbered = [
        zero_based(labels, source.first_label, len(classes), f"{name}: {key}")
        for key, labels in (("y_train", y_train), ("y_test", y_test))
    ]
    return Decoded(Samples(train, numbered[0]), Samples(test, numbered[1]), classes, brightest)


def _arrays(data: bytes, name: str) -> list[np.ndarray]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            missing = [key for key in KEYS if f"{key}.npy" not in archive.namelist()]
            if missing:
                there = listed([entry.removesuffix(".npy") for entry in archive.namelist()]) or "nothing"
                raise UserError(f"{name}: {listed(missing)} missing; expected {listed(KEYS)}, got {there}")
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return [file[key] for key in KEYS]
    except UserError:
        raise
    except Exception as error:  # a damaged file makes numpy and zipfile raise almost anything
        raise UserError(f"{name}: not a numpy.savez file of plain arrays ({error})") from error


def _numbers(array: np.ndarray, name: str) -> np.ndarray:
    """Return uint8 unchanged and all other numbers as float32. Raises UserError."""
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise UserError(f"{name} has the shape {array.shape}, expected (n, rows, columns) or (n, features)")
    if array.dtype.kind not in "biuf":
        raise UserError(f"{name} is {array.dtype}, expected numbers")
    if array.dtype == np.uint8:
        return array
    with np.errstate(over="ignore"):
        numbers = array.astype(np.float32)
    finite = np.isfinite(numbers)
    if not finite.all():
        index = np.unravel_index(np.argmin(finite), array.shape)
        raise UserError(f"{name}[{', '.join(map(str, index))}] is {array[index]}, expected a finite float32")
    return numbers


def _check_pixels(images: np.ndarray, brightest: int, name: str) -> None:
    low, high = images.min(), images.max()
    if low < 0 or high > brightest:
        raise UserError(
            f"{name} has pixels from {low:g} to {high:g}, expected 0 to {brightest}; source.brightest sets the value "
            "that becomes 1.0"
        )
