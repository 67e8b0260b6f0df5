"""Preprocessed data: four memory-mapped arrays, and what they are."""

from __future__ import annotations

import json
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cli.errors import UserError
from pipeline.config.digests import arrays_digest
from pipeline.data.files import save, shown, whole

NAMES = ("train_images", "train_labels", "test_images", "test_labels")
META = "meta.json"


@dataclass(frozen=True)
class Arrays:
    """Images are float32 (n, pixels) in [0, 1], labels uint8 (n,); read-only, on disk until they are touched."""

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: int
    image_shape: tuple[int, int]
    digest: str
    """`arrays_digest` over the four arrays by their names, as it was when they were written."""

    def named(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in NAMES}


def write(arrays: Arrays, folder: Path) -> None:
    """Put `arrays` into `folder`, whole or not at all; what was there goes."""
    meta = {
        "name": arrays.name,
        "classes": arrays.classes,
        "image_shape": list(arrays.image_shape),
        "digest": arrays.digest,
    }
    with whole(folder) as temporary:
        temporary.mkdir()
        for name, array in arrays.named().items():
            save(temporary / f"{name}.npy", array)
        (temporary / META).write_text(json.dumps(meta, indent=1) + "\n")


def let_go(array: np.ndarray) -> None:
    """Give back the memory of a memory map that has been copied; it is read from disk again where it is touched."""
    base: Any = array
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    pages = getattr(base, "_mmap", None)
    if pages is not None and hasattr(mmap, "MADV_DONTNEED"):
        pages.madvise(mmap.MADV_DONTNEED)


def load(folder: Path) -> Arrays:
    """The arrays in `folder`, as memory maps: cheap, and shared by all processes that have them open."""
    name = folder.name
    remedy = f"To have it: python -m pipeline.fetch dataset={name} && python -m pipeline.preprocess dataset={name}"
    if not folder.is_dir():
        raise UserError(f"{shown(folder)}: no preprocessed data here. {remedy} (or: dvc repro preprocess)")
    try:
        meta = json.loads((folder / META).read_text())
        maps = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in NAMES}
        arrays = Arrays(
            name=str(meta["name"]),
            **maps,
            classes=int(meta["classes"]),
            image_shape=(int(meta["image_shape"][0]), int(meta["image_shape"][1])),
            digest=str(meta["digest"]),
        )
        _check_form(arrays)
    except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError) as error:
        raise UserError(f"{shown(folder)}: preprocessed data is damaged ({_reason(error)}). {remedy}") from error
    return arrays


def _check_form(arrays: Arrays) -> None:
    pixels = arrays.image_shape[0] * arrays.image_shape[1]
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
    return f"{error!r}" if isinstance(error, KeyError) else str(error)


def verify(arrays: Arrays) -> None:
    """Read all of it and compare with the digest that was written beside it. Raises UserError."""
    found = arrays_digest(arrays.named())
    if found != arrays.digest:
        raise UserError(
            f"preprocessed data of {arrays.name}: digest of the arrays is {found}, expected {arrays.digest}. "
            f"To replace it: python -m pipeline.preprocess dataset={arrays.name}"
        )
