"""Arrays in files that anyone may have written: nothing is unpickled, and no more is read than a file holds."""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from pipeline.storage.record import opened

DAMAGE = (
    *(ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile, zlib.error),
    # What numpy and zipfile come to with a header that is none: a word that is no Python, encryption, another method.
    *(SyntaxError, RuntimeError, struct.error, tokenize.TokenError),
)
"""What reading a damaged file raises."""


def load(path: Path, most: int | None = None) -> np.ndarray:
    """An array; never more of it than the file holds, whatever its header announces."""
    with opened(path, most) as file:
        _check_size(file, path.stat().st_size)
        file.seek(0)
        return np.load(file, allow_pickle=False)


def load_weights(path: Path) -> dict[str, np.ndarray]:
    # Opened by us: numpy leaves the file open where the archive is damaged.
    with opened(path) as file:
        with zipfile.ZipFile(file) as archive:
            held = sum(entry.file_size for entry in archive.infolist())
            if held > path.stat().st_size or not all(entry.filename.endswith(".npy") for entry in archive.infolist()):
                raise ValueError("its weights unpack to more than their file holds, or to something else")
            for entry in archive.infolist():
                with archive.open(entry) as member:
                    _check_size(member, entry.file_size)
        file.seek(0)
        with np.load(file, allow_pickle=False) as weights:
            return {name.replace(".", "/"): weights[name] for name in weights.files}


def _check_size(member: IO[bytes], size: int) -> None:
    """Refuse an array whose header announces more than the member holds: numpy would make room for it first."""
    version = np.lib.format.read_magic(member)
    reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if reader is None:
        raise ValueError(f"an array in version {version} of numpy's format")
    shape, _, dtype = reader(member)
    if min(shape, default=1) < 0 or dtype.hasobject or math.prod(shape) * dtype.itemsize > size:
        raise ValueError(f"an array announces {math.prod(shape) * dtype.itemsize:,} bytes, and holds {size:,}")


def save(path: Path, array: np.ndarray) -> None:
    with open(path, "wb") as file:
        np.save(file, array, allow_pickle=False)


def save_weights(path: Path, weights: Mapping[str, np.ndarray]) -> None:
    """Arrays by path (`hidden_1/kernel` …), which is written with a dot: it is the name of a file within the archive."""
    with open(path, "wb") as file:
        np.savez(file, allow_pickle=False, **{name.replace("/", "."): array for name, array in weights.items()})
