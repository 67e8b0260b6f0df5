import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cli.errors import UserError
from pipeline.data import idx

IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
LABELS = np.array([3, 1, 4], np.uint8)


pytestmark = pytest.mark.fault("IDX damaged")

any_speed = settings(deadline=None, database=None, max_examples=100)


def header(*fields: int) -> bytes:
    return struct.pack(f">{len(fields)}I", *fields)


PIXELS = bytes(24)


def case(value: object) -> str:
    """Use the message as the id of a case, and leave out its bytes."""
    return value.replace(" ", "-") if isinstance(value, str) else ""


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "0 bytes, expected a header of 16"),
        (header(2049, 2, 3, 4) + PIXELS, r"magic number is 2049 \(0x00000801\), expected 2051"),
        (struct.pack("<4I", 2051, 2, 3, 4) + PIXELS, "magic number is 50855936"),
        (header(2051, 2**31, 3, 4) + PIXELS, "count 2,147,483,648, rows 3, columns 4: expected 25,769,803,776 bytes"),
        (header(2051, 2**30, 2, 2**31) + PIXELS, "the file has 24"),  # 2^62 bytes
        (header(2051, 0, 3, 4), "count is 0, expected at least 1"),
        (header(2051, 2, 4, 3) + PIXELS, "rows is 4, expected 3"),
        (header(2051, 1, 3, 8) + PIXELS, "columns is 8, expected 4"),
        (header(2051, 2, 3, 4) + PIXELS[1:], "the file has 23$"),
        (header(2051, 2, 3, 4) + PIXELS + b"!!", r"the file has 26 \(2 too many\)"),
    ],
    ids=case,
)
def test_damaged_images_are_refused_by_name(data: bytes, named: str) -> None:
    with pytest.raises(UserError, match=named) as raised:
        idx.images(data, (3, 4), "some/file.gz")
    assert str(raised.value).startswith("some/file.gz: ")


@any_speed
@given(
    fields=st.lists(st.integers(0, 2**32 - 1) | st.sampled_from([0, 1, 2, 3, 4, 2049, 2051, 2**31]), max_size=5),
    rest=st.binary(max_size=32),
)
def test_reader_survives_any_header(fields: list[int], rest: bytes) -> None:
    data = header(*fields) + rest
    for dimensions in (idx.IMAGES, idx.LABELS):
        try:
            array = idx.decode(data, dimensions, "x")
        except UserError:
            continue
        assert idx.encode(array) == data


SOUND = gzip.compress(b"ten bytes.")


@pytest.mark.parametrize(
    ("packed", "named"),
    [
        (b"", "ends early, after 0 bytes"),
        (b"<html>not found</html>", "not a valid gzip file .incorrect header"),
        (SOUND[:-1], "ends early"),
        (SOUND + SOUND, "bytes follow the end of the gzip stream, expected none"),
        (SOUND[:-8] + b"\0\0\0\0" + SOUND[-4:], "not a valid gzip file .incorrect data check"),
        (SOUND[:-4] + b"\xff\0\0\0", "not a valid gzip file .incorrect length check"),
        (gzip.compress(b"eleven byte"), "unpacks to more than the expected 10 bytes"),
    ],
    ids=case,
)
def test_unsound_gzip_is_refused(packed: bytes, named: str) -> None:
    with pytest.raises(UserError, match=named):
        idx.unpack(packed, 10, "file")


def test_a_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(100_000_000), compresslevel=1)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="more than the expected 1,000 bytes"):
            idx.unpack(bomb, 1000, "bomb")
        assert tracemalloc.get_traced_memory()[1] < 2 * len(bomb)
    finally:
        tracemalloc.stop()
