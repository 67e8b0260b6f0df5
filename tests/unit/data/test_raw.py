import gzip
from pathlib import Path

import numpy as np
import pytest

from pipeline.cli.errors import UserError
from pipeline.data import idx, raw, sources
from pipeline.data.samples import Decoded
from tests.unit.data import tiny

IMAGES, LABELS = tiny.FILES[0].name, tiny.FILES[1].name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in tiny.PACKED.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def with_count(data: bytes, count: int) -> bytes:
    return data[:4] + count.to_bytes(4, "big") + data[8:]


@pytest.mark.parametrize(
    ("name", "unpacked", "named"),
    [
        (IMAGES, with_count(tiny.UNPACKED[IMAGES], 2**31), "count 2,147,483,648"),
        (LABELS, tiny.UNPACKED[LABELS][:-1] + b"\4", "label 11 is 4, expected 0 to 3"),
        (LABELS, idx.encode(np.zeros(11, np.uint8)), f"{LABELS} has 11 labels"),
        (tiny.FILES[2].name, bytes(46), "magic number"),
    ],
    ids=["structure before digest", "label too high", "fewer labels", "test files too"],
)
def test_a_damaged_file_is_named_with_the_command_that_replaces_it(
    folder: Path, name: str, unpacked: bytes, named: str
) -> None:
    (folder / name).write_bytes(gzip.compress(unpacked, mtime=0))
    with pytest.raises(UserError) as raised:
        raw.read(tiny.TINY, folder)
    message = str(raised.value)
    assert name in message
    assert named in message
    assert message.endswith("To replace it: python -m pipeline.fetch dataset=tiny")


# --- EMNIST letters


def emnist(labels: np.ndarray, images: np.ndarray) -> Decoded:
    dataset = sources.find("emnist_letters")
    content = dict(
        zip(dataset.files, [gzip.compress(idx.encode(array), mtime=0) for array in (images, labels) * 2], strict=True)
    )
    return raw.decode(dataset, content, Path("emnist"))


def test_letters_are_turned_upright_and_counted_from_0() -> None:
    images = np.arange(26 * 6, dtype=np.uint8).reshape(26, 2, 3)
    found = emnist(np.arange(1, 27, dtype=np.uint8), images)
    assert found.train.labels.tolist() == list(range(26))
    assert (found.classes[0], found.classes[25]) == ("a", "z")
    assert np.array_equal(found.train.images, images.transpose(0, 2, 1))
    assert found.shape == (3, 2)
    with pytest.raises(UserError, match=r"labels-idx1-ubyte\.gz: label 0 is 0, expected 1 to 26"):
        emnist(np.arange(26, dtype=np.uint8), images)
