"""Preprocessed data: four memory-mapped arrays and their metadata."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.cli.errors import UserError
from pipeline.config.digests import arrays_digest
from pipeline.data.files import atomic_write, display_path, save
from pipeline.data.memory import release_memory

NAMES = ("train_images", "train_labels", "test_images", "test_labels")
META = "meta.json"


class DamagedData(UserError):
    """Preprocessed data exist but differ from what was written."""


@dataclass(frozen=True)
class Arrays:
    """Images are float32 (n, pixels), pictures in [0, 1]; labels are uint8 (n,). Memory-mapped arrays load on access."""

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: int
    image_shape: tuple[int, ...]
    """Shape of one sample: (rows, columns) of an image, (features,) of a table row."""
    digest: str
    """`arrays_digest` of the four arrays by name when they were written."""
    brightest: int = 1
    """The value in the files that became 1.0; 1 if the numbers are unchanged."""

    @property
    def what(self) -> str:
        """The word for its samples in messages."""
        return "images" if len(self.image_shape) > 1 else "samples"

    def named(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in NAMES}


def scale(images: np.ndarray, brightest: int) -> np.ndarray:
    """Return float32 (n, pixels) in [0, 1]; the same bits as `images.astype("float32") / brightest` in half the time."""
    scaled: np.ndarray = np.divide(images.reshape(len(images), -1), np.float32(brightest))
    return scaled


def write(arrays: Arrays, folder: Path) -> None:
    """Write `arrays` to `folder` atomically, replacing its content."""
    meta = {
        "name": arrays.name,
        "classes": arrays.classes,
        "image_shape": list(arrays.image_shape),
        "brightest": arrays.brightest,
        "digest": arrays.digest,
    }
    with atomic_write(folder) as temporary:
        temporary.mkdir()
        for name, array in arrays.named().items():
            save(temporary / f"{name}.npy", array)
        (temporary / META).write_text(json.dumps(meta, indent=1) + "\n")


def load(folder: Path, verified: bool = False) -> Arrays:
    """Return the arrays in `folder` as memory maps, which processes share.

    Each process reads them once to verify their digest (0.2 s for MNIST), unless `verified` says that its parent command
    has. Raises UserError if there are none and DamagedData for a wrong dtype, shape or digest.
    """
    name = folder.name
    remedy = f"To have it: python -m pipeline.fetch dataset={name} && python -m pipeline.preprocess dataset={name}"
    if not folder.is_dir():
        raise UserError(f"{display_path(folder)}: no preprocessed data here. {remedy} (or: dvc repro preprocess)")
    try:
        meta = json.loads((folder / META).read_text())
        maps = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in NAMES}
        arrays = Arrays(
            name=str(meta["name"]),
            **maps,
            classes=int(meta["classes"]),
            image_shape=tuple(int(length) for length in meta["image_shape"]),
            digest=str(meta["digest"]),
            brightest=int(meta["brightest"]),
        )
        _check_form(arrays)
    except KeyError as error:
        raise DamagedData(
            f"{display_path(folder)}: another release of this project wrote it ({META} has no {error}). {remedy}"
        ) from error
    except Exception as error:  # a damaged header makes numpy raise almost anything
        raise DamagedData(
            f"{display_path(folder)}: preprocessed data is damaged ({_reason(error)}). {remedy}"
        ) from error
    if not verified:
        _verify(arrays, folder)
    return arrays


def _check_form(arrays: Arrays) -> None:
    pixels = math.prod(arrays.image_shape)
    for split in ("train", "test"):
        images, labels = getattr(arrays, f"{split}_images"), getattr(arrays, f"{split}_labels")
        for name, array, dtype, shape in (
            ("images", images, np.float32, (len(images), pixels)),
            ("labels", labels, np.uint8, (len(images),)),
        ):
            if array.dtype != dtype or array.shape != shape:
                expected = f"{np.dtype(dtype)} {shape}"
                raise ValueError(f"{split}_{name}.npy holds {array.dtype} {array.shape}, expected {expected}")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{Path(error.filename).name}: {error.strerror}"
    return str(error)


_verified: dict[Path, tuple[str, list[tuple[int, int, int]]]] = {}
"""Digest and file states of each folder that this process has verified."""


def _verify(arrays: Arrays, folder: Path) -> None:
    """Compare all arrays with their stored digest, unless this process has done so and no file has changed."""
    files = [(folder / f"{name}.npy").stat() for name in NAMES]
    state = arrays.digest, [(file.st_ino, file.st_size, file.st_mtime_ns) for file in files]
    if _verified.get(folder) == state:
        return
    found = arrays_digest(arrays.named())
    if found != arrays.digest:
        raise DamagedData(
            f"{display_path(folder)}: preprocessed data is damaged (the digest of its arrays is {found[:12]}, expected "
            f"{arrays.digest[:12]}). To replace it: python -m pipeline.preprocess dataset={folder.name}"
        )
    for array in arrays.named().values():
        release_memory(array)
    _verified[folder] = state
