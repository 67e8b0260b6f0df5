import contextlib
from pathlib import Path

import numpy as np
import pytest

from pipeline.cli.errors import UserError
from pipeline.data import arrays
from tests.unit.data import tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    arrays.write(tiny.arrays(), tmp_path / "tiny")
    return tmp_path / "tiny"


def test_what_is_written_is_loaded_as_read_only_memory_maps(folder: Path) -> None:
    written, loaded = tiny.arrays(), arrays.load(folder)
    for name, array in written.named().items():
        found = getattr(loaded, name)
        assert np.array_equal(array, found)
        assert isinstance(found, np.memmap)
        assert not found.flags.writeable
    assert (loaded.name, loaded.classes, loaded.image_shape) == ("tiny", 4, (2, 3))


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", arrays.NAMES)
def test_a_flipped_bit_is_found(folder: Path, name: str) -> None:
    flip_a_bit(folder / f"{name}.npy")
    with pytest.raises(
        UserError, match=r"tiny: preprocessed data is damaged .* expected .* python -m pipeline\.preprocess"
    ):
        arrays.load(folder)


def test_no_folder_names_the_commands(tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        arrays.load(tmp_path / "mnist")
    assert "python -m pipeline.fetch dataset=mnist && python -m pipeline.preprocess dataset=mnist" in str(raised.value)
    assert "dvc repro preprocess" in str(raised.value)


@pytest.mark.parametrize("name", ["meta.json", "train_images.npy"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "nonsense"])
def test_damage_is_named(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    data = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes({"empty": b"", "cut": data[:-3], "nonsense": b"nonsense"}[damage])
    with pytest.raises(UserError, match=r"tiny: preprocessed data is damaged \(.+\)\. To have it: python -m"):
        arrays.load(folder)


@pytest.mark.parametrize(
    ("name", "array", "named"),
    [
        ("train_labels", np.zeros(11, np.uint8), r"train_labels.npy holds uint8 \(11,\), expected uint8 \(12,\)"),
        ("test_images", np.zeros((5, 6)), "test_images.npy holds float64"),
        ("train_images", np.zeros((), np.float32), "damaged"),
        ("test_labels", np.array([{}]), "damaged"),
    ],
)
def test_another_form_is_refused_and_pickles_are_not_opened(
    folder: Path, name: str, array: np.ndarray, named: str
) -> None:
    np.save(folder / f"{name}.npy", array)
    with pytest.raises(UserError, match=named):
        arrays.load(folder)


def test_any_flipped_bit_of_a_header_is_damage(folder: Path) -> None:
    path = folder / "train_images.npy"
    whole = path.read_bytes()
    for place in range(80):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 2]) + whole[place + 1 :])
        with contextlib.suppress(UserError):
            arrays.load(folder)
