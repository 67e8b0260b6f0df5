"""Memory of memory-mapped arrays."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np


def release_memory(array: np.ndarray) -> None:
    """Release the memory of a memory map that has been copied; later accesses read from disk again."""
    base: Any = array
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    pages = getattr(base, "_mmap", None)
    if pages is not None and hasattr(mmap, "MADV_DONTNEED"):
        pages.madvise(mmap.MADV_DONTNEED)
