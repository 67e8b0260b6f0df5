import contextlib
import io
from typing import Any

import numpy as np
import pytest

from pipeline.cli.errors import UserError
from pipeline.config.digests import arrays_digest
from pipeline.data import samples
from pipeline.data.arrays import Arrays
from pipeline.data.samples import Decoded
from pipeline.data.sources import File, Npz
from pipeline.preprocess import scaled

PIXELS = np.arange(24, dtype=np.uint8).reshape(6, 2, 2)
LABELS = np.array([0, 1, 2, 0, 1, 2])
ARRAYS: dict[str, Any] = {"x_train": PIXELS, "y_train": LABELS, "x_test": PIXELS[:3], "y_test": LABELS[:3]}


def decode(declared: dict[str, Any] | None = None, **changes: Any) -> Decoded:
    content = {name: array for name, array in (ARRAYS | changes).items() if array is not None}
    file = io.BytesIO()
    np.savez(file, **content)
    return samples.of_npz(Npz(File("mine.npz"), **(declared or {})), file.getvalue(), "mine.npz")


def test_the_digits_as_npz_are_the_digits(digits: Arrays) -> None:
    from sklearn.datasets import load_digits

    images, labels = load_digits().images, load_digits().target
    found = decode(
        {"brightest": 16}, x_train=images[:-360], y_train=labels[:-360], x_test=images[-360:], y_test=labels[-360:]
    )
    assert arrays_digest(scaled(found)) == digits.digest


def test_bytes_are_pixels_and_other_numbers_stay_as_they_are() -> None:
    assert (decode().brightest, decode().shape) == (255, (2, 2))
    numbers = np.linspace(-5, 5, 24).reshape(6, 4)
    found = decode(x_train=numbers, x_test=numbers[:3])
    assert (found.brightest, found.shape) == (1, (4,))
    assert np.array_equal(found.train.images, numbers.astype(np.float32))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "y_test missing; expected x_train, y_train, x_test and y_test, got x_train, y_train and"),
        ({"x_train": np.zeros((6, 2, 2, 3))}, "x_train has the shape (6, 2, 2, 3), expected (n, rows, columns) or"),
        ({"x_test": PIXELS[:3, :1]}, "a sample of x_test has the shape (1, 2), of x_train (2, 2)"),
        ({"y_train": LABELS[:5]}, "y_train is int64 of shape (5,), expected 6 whole numbers"),
        ({"y_train": LABELS / 2}, "y_train is float64 of shape (6,), expected 6 whole numbers"),
        ({"y_test": np.array([0, 3, 1])}, "y_test: label 1 is 3, expected 0 to 2"),
        ({"y_train": LABELS * 200}, "y_train: labels from 0 to 400 make 401 classes, expected 2 to 256"),
        ({"x_train": PIXELS * 1.0}, "x_train has pixels from 0 to 23, expected 0 to 1; source.brightest sets"),
        ({"x_train": np.full((6, 3), np.nan)}, "x_train[0, 0] is nan, expected a finite float32"),
        ({"x_train": np.array([None] * 6)}, "not a numpy.savez file of plain arrays"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_is_wrong_is_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as raised:
        decode(**changes)
    assert str(raised.value).startswith(f"mine.npz: {message}")


def test_any_flipped_bit_of_a_compressed_file_is_damage() -> None:
    file = io.BytesIO()
    np.savez_compressed(file, **ARRAYS)
    whole = file.getvalue()
    for place in range(len(whole)):
        data = whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :]
        with contextlib.suppress(UserError):
            samples.of_npz(Npz(File("mine.npz")), data, "mine.npz")
