"""Digests of arrays: what says that two machines hold the same numbers."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pipeline.config.run_config import digest

LARGE = 2**24
"""Bytes from which on several threads are worth their start."""


def array_digest(array: np.ndarray) -> str:
    """sha256 over dtype, shape and little-endian values: the same on every machine and in every container."""
    array = np.asarray(array)
    plain = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
    sha256 = hashlib.sha256(f"{plain.dtype.str}{plain.shape}".encode())
    sha256.update(plain.reshape(-1).view(np.uint8).data)  # no copy: MNIST's training images are 188 MB
    return sha256.hexdigest()


def arrays_digest(arrays: dict[str, np.ndarray]) -> str:
    """sha256 over names and digests of several arrays, whatever their order."""
    if sum(array.nbytes for array in arrays.values()) < LARGE:
        return digest({name: array_digest(array) for name, array in arrays.items()})
    with ThreadPoolExecutor() as threads:  # hashlib lets other threads go on
        return digest(dict(zip(arrays, threads.map(array_digest, arrays.values()), strict=True)))
