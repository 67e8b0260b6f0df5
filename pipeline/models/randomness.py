"""All random numbers: 64-bit integers of Philox, a counter-based generator, keyed by (seed, purpose, index).

numpy never changes the integers of a bit generator, but may change its distributions between releases, so distributions
are implemented here. Initial weights and sample orders are the same for every optimizer, trainer, backend and device:
runs of one seed are paired.
Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import hashlib

import numpy as np


def random_integers(seed: int, purpose: str, index: int, count: int) -> np.ndarray:
    """Return `count` independent uniform uint64 for this (seed, purpose, index)."""
    key = hashlib.sha256(f"{seed}/{purpose}/{index}".encode()).digest()
    philox = np.random.Philox(key=np.frombuffer(key[:16], dtype="<u8"))
    return np.asarray(philox.random_raw(count), dtype=np.uint64)


def uniform(seed: int, purpose: str, index: int, count: int) -> np.ndarray:
    """Return uniform float64 in (0, 1), never 0 or 1: the centres of 2^53 equal intervals."""
    return ((random_integers(seed, purpose, index, count) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def normal(seed: int, purpose: str, index: int, count: int) -> np.ndarray:
    """Return standard normal float64, by inverse transform sampling."""
    from scipy.special import ndtri

    return np.asarray(ndtri(uniform(seed, purpose, index, count)))


def truncated_normal(seed: int, purpose: str, index: int, count: int) -> np.ndarray:
    """Return standard normal float64 truncated at two standard deviations; their standard deviation is 0.8796."""
    from scipy.special import ndtr, ndtri

    low, high = ndtr(-2.0), ndtr(2.0)
    return np.asarray(ndtri(low + (high - low) * uniform(seed, purpose, index, count)))


def sample(samples: int, count: int) -> np.ndarray:
    """Return the indices of `count` out of `samples` samples, int32, ascending; the same for every seed."""
    return np.sort(np.argsort(random_integers(0, "sample", samples, samples), kind="stable")[:count]).astype(np.int32)


def order(seed: int, epoch: int, samples: int) -> np.ndarray:
    """Return the order of the training samples in epoch `epoch` (from 0), int32 (samples,)."""
    drawn = random_integers(seed, "order", epoch, samples)
    # Six times as fast as a stable sort, with the same order unless two integers are equal.
    found = np.argsort(drawn)
    in_order = drawn[found]
    if (in_order[1:] == in_order[:-1]).any():
        found = np.argsort(drawn, kind="stable")
    return found.astype(np.int32)
