"""Memory of arrays that are mapped from files."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np


def release_memory(array: np.ndarray) -> None:
    """Give back the memory of a memory map that has been copied; it is read from disk again where it is touched."""
    base: Any = array
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    pages = getattr(base, "_mmap", None)
    if pages is not None and hasattr(mmap, "MADV_DONTNEED"):
        pages.madvise(mmap.MADV_DONTNEED)
