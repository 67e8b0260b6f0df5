"""A file of numpy with training and test samples, as `numpy.savez` writes it."""

from __future__ import annotations

import io
import zipfile

import numpy as np

from pipeline.cli.errors import UserError
from pipeline.cli.formatting import listed
from pipeline.data.samples import Decoded, Samples, class_names, counted
from pipeline.data.sources import Npz

KEYS = ("x_train", "y_train", "x_test", "y_test")


def decode(source: Npz, data: bytes, name: str) -> Decoded:
    """What the file `data` holds; `name` is for errors. Raises UserError."""
    x_train, y_train, x_test, y_test = _arrays(data, name)
    train, test = _samples(x_train, f"{name}: x_train"), _samples(x_test, f"{name}: x_test")
    if test.shape[1:] != train.shape[1:]:
        raise UserError(f"{name}: a sample of x_test has the shape {test.shape[1:]}, of x_train {train.shape[1:]}")
    brightest = source.brightest or (255 if train.dtype == test.dtype == np.uint8 else 1)
    if train.ndim == 3:
        for key, images in (("x_train", train), ("x_test", test)):
            _check_pixels(images, brightest, f"{name}: {key}")
    for key, labels, samples in (("y_train", y_train, train), ("y_test", y_test, test)):
        if labels.dtype.kind not in "iu" or labels.shape != (len(samples),):
            came = f"{labels.dtype} of shape {labels.shape}"
            raise UserError(f"{name}: {key} is {came}, expected {len(samples):,} whole numbers in one dimension")
    classes = class_names(source.classes, y_train, source.first_label, f"{name}: y_train")
    numbered = [
        counted(labels, source.first_label, len(classes), f"{name}: {key}")
        for key, labels in (("y_train", y_train), ("y_test", y_test))
    ]
    return Decoded(Samples(train, numbered[0]), Samples(test, numbered[1]), classes, brightest)


def _arrays(data: bytes, name: str) -> list[np.ndarray]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            missing = [key for key in KEYS if f"{key}.npy" not in archive.namelist()]
            if missing:
                there = listed([entry.removesuffix(".npy") for entry in archive.namelist()]) or "nothing"
                raise UserError(f"{name}: {listed(missing)} missing; expected {listed(KEYS)}, came {there}")
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return [file[key] for key in KEYS]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{name}: not a file of numpy.savez with plain arrays ({error})") from error


def _samples(array: np.ndarray, name: str) -> np.ndarray:
    """uint8, or float32 for all other numbers."""
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
        place = np.unravel_index(np.argmin(finite), array.shape)
        raise UserError(f"{name}[{', '.join(map(str, place))}] is {array[place]}, expected a number that float32 holds")
    return numbers


def _check_pixels(images: np.ndarray, brightest: int, name: str) -> None:
    low, high = images.min(), images.max()
    if low < 0 or high > brightest:
        raise UserError(
            f"{name} has pixels from {low:g} to {high:g}, expected 0 to {brightest}; source.brightest says which value "
            "becomes 1.0"
        )
