"""IDX, the format of the MNIST files: a magic number, one big-endian uint32 per dimension, then the bytes.

The reader is strict: header and content must match exactly.
"""

from __future__ import annotations

import math
import struct
import zlib

import numpy as np

from pipeline.cli.errors import UserError

IMAGES = ("count", "rows", "columns")
LABELS = ("count",)
UNSIGNED_BYTE = 0x08


def unpack(packed: bytes, size: int, name: str) -> bytes:
    """Unpack the single gzip member `packed`, at most `size` bytes. Raises UserError, with `name`."""
    stream = zlib.decompressobj(wbits=31)
    try:
        data = stream.decompress(packed, size + 1)  # protects against a decompression bomb
    except zlib.error as error:
        raise UserError(f"{name}: not a valid gzip file ({str(error).split(': ')[-1]})") from error
    if len(data) > size:
        raise UserError(f"{name}: unpacks to more than the expected {size:,} bytes")
    if not stream.eof:
        raise UserError(f"{name}: gzip stream ends early, after {len(packed):,} bytes")
    if stream.unused_data:
        raise UserError(f"{name}: {len(stream.unused_data):,} bytes follow the end of the gzip stream, expected none")
    return data


def decode(data: bytes, dimensions: tuple[str, ...], name: str) -> np.ndarray:
    """Return the uint8 array of the IDX file `data`, read-only; `dimensions` is IMAGES or LABELS. Raises UserError, with `name`."""
    header = 4 + 4 * len(dimensions)
    if len(data) < header:
        raise UserError(f"{name}: the file has {len(data)} bytes, expected a header of {header}")
    magic, *shape = struct.unpack_from(f">{1 + len(dimensions)}I", data)
    expected = UNSIGNED_BYTE << 8 | len(dimensions)
    if magic != expected:
        raise UserError(f"{name}: magic number is {magic} (0x{magic:08x}), expected {expected} (0x{expected:08x})")
    for dimension, length in zip(dimensions, shape, strict=True):
        if length == 0:
            raise UserError(f"{name}: {dimension} is 0, expected at least 1")
    expected, found = math.prod(shape), len(data) - header  # Python's integers: 2^31 x 28 x 28 does not overflow
    if found != expected:
        fields = ", ".join(f"{dimension} {length:,}" for dimension, length in zip(dimensions, shape, strict=True))
        trailing = f" ({found - expected:,} too many)" if found > expected else ""
        raise UserError(f"{name}: {fields}: expected {expected:,} bytes, but the file has {found:,}{trailing}")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def images(data: bytes, shape: tuple[int, int] | None, name: str) -> np.ndarray:
    """Return the images of the IDX file `data`, uint8 (count, rows, columns); `shape` is (rows, columns) or None for any."""
    array = decode(data, IMAGES, name)
    for dimension, length, expected in zip(IMAGES[1:], array.shape[1:], shape or array.shape[1:], strict=True):
        if length != expected:
            raise UserError(f"{name}: {dimension} is {length}, expected {expected}")
    return array


def encode(array: np.ndarray) -> bytes:
    """Return `array` (uint8) as an IDX file; inverts `decode`."""
    if array.dtype != np.uint8:
        raise TypeError(f"IDX as MNIST uses it holds uint8, not {array.dtype}")
    magic = UNSIGNED_BYTE << 8 | array.ndim
    return struct.pack(f">{1 + array.ndim}I", magic, *array.shape) + array.tobytes()
