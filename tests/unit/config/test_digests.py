"""Digests of arrays depend on values, type and shape, not on the memory layout."""

import numpy as np
import pytest

from pipeline.config.digests import array_digest, arrays_digest

NUMBERS = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(np.asfortranarray(NUMBERS), id="order in memory"),
        pytest.param(NUMBERS.astype(">f4"), id="byte order"),
        pytest.param(np.arange(12, dtype=np.float32)[::2].reshape(2, 3) / 2, id="strides"),
    ],
)
def test_the_container_does_not_matter(other: np.ndarray) -> None:
    assert array_digest(other) == array_digest(NUMBERS)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(NUMBERS.astype(np.float64), id="type"),
        pytest.param(NUMBERS.reshape(3, 2), id="shape"),
        pytest.param(NUMBERS + np.float32(1e-6), id="last bit"),
        pytest.param(NUMBERS.T, id="transposed"),
        pytest.param(-NUMBERS + 0, id="sign"),
    ],
)
def test_the_numbers_do(other: np.ndarray) -> None:
    assert array_digest(other) != array_digest(NUMBERS)


def test_a_digest_is_for_good() -> None:
    """Digests are part of the keys of all stored runs: if they changed, no stored run would be found again."""
    assert array_digest(NUMBERS) == "3378efc20f15f0e870a04920ebd06243767f44dd6de3dfc84997ea2f41bc964c"
    assert arrays_digest({"a": NUMBERS}) == "7aded2ceea62209e8763a15d22b65cd487fbc0e17e3c2a8d8e28661a2f3fa730"
