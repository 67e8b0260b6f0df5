"""The one source of chance: 64-bit words of Philox, keyed by (seed, purpose, index).

The words of a bit generator are fixed for good, other than what numpy makes of them (its distributions may change
between releases), so everything above the words is spelt out here. Initial weights and orders are the same
for every optimizer, trainer, backend and device: runs of one seed are paired.
Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import hashlib

import numpy as np


def random_integers(seed: int, purpose: str, index: int, count: int) -> np.ndarray:
    """`count` independent uniform uint64 for this (seed, purpose, index)."""
    key = hashlib.sha256(f"{seed}/{purpose}/{index}".encode()).digest()
    philox = np.random.Philox(key=np.frombuffer(key[:16], dtype="<u8"))
    return np.asarray(philox.random_raw(count), dtype=np.uint64)


def uniform(seed: int, purpose: str, index: int, count: int) -> np.ndarray:
    """float64 in (0, 1), never 0 nor 1: the centres of 2^53 equal cells."""
    return ((random_integers(seed, purpose, index, count) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def normal(seed: int, purpose: str, index: int, count: int) -> np.ndarray:
    """float64 standard normal, by the inverse of its distribution function."""
    from scipy.special import ndtri

    return np.asarray(ndtri(uniform(seed, purpose, index, count)))


def truncated_normal(seed: int, purpose: str, index: int, count: int) -> np.ndarray:
    """float64 standard normal cut at two standard deviations (its own SD is then 0.8796)."""
    from scipy.special import ndtr, ndtri

    low, high = ndtr(-2.0), ndtr(2.0)
    return np.asarray(ndtri(low + (high - low) * uniform(seed, purpose, index, count)))


def sample(samples: int, count: int) -> np.ndarray:
    """int32 (count,), ascending: `count` of so many samples, drawn once and for all, for every seed the same."""
    return np.sort(np.argsort(random_integers(0, "sample", samples, samples), kind="stable")[:count]).astype(np.int32)


def order(seed: int, epoch: int, samples: int) -> np.ndarray:
    """int32 (samples,): the order in which epoch `epoch` (from 0) sees the training samples."""
    drawn = random_integers(seed, "order", epoch, samples)
    # Six times as fast as a stable sort, and the same order unless two words are equal.
    found = np.argsort(drawn)
    in_order = drawn[found]
    if (in_order[1:] == in_order[:-1]).any():
        found = np.argsort(drawn, kind="stable")
    return found.astype(np.int32)
