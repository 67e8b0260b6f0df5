"""Digests of arrays, equal on two machines if the numbers are equal."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pipeline.config.run_config import digest

LARGE = 2**24
"""Bytes from which several threads are faster than one."""


def array_digest(array: np.ndarray) -> str:
    """Return the sha256 of dtype, shape and little-endian values: the same on every machine and in every file format."""
    array = np.asarray(array)
    plain = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
    sha256 = hashlib.sha256(f"{plain.dtype.str}{plain.shape}".encode())
    sha256.update(plain.reshape(-1).view(np.uint8).data)  # no copy: MNIST's training images are 188 MB
    return sha256.hexdigest()


def arrays_digest(arrays: dict[str, np.ndarray]) -> str:
    """Return the sha256 of names and digests of several arrays, in any order."""
    if sum(array.nbytes for array in arrays.values()) < LARGE:
        return digest({name: array_digest(array) for name, array in arrays.items()})
    with ThreadPoolExecutor() as threads:  # hashlib releases the GIL
        return digest(dict(zip(arrays, threads.map(array_digest, arrays.values()), strict=True)))
