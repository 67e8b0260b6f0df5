"""The four files of a data set as they were fetched, decoded: uint8 images and labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.cli.errors import UserError
from pipeline.data import idx
from pipeline.data.files import shown
from pipeline.data.sources import DataSet, File, check_unpacked


@dataclass(frozen=True)
class Samples:
    images: np.ndarray
    """uint8 (n, rows, columns)."""
    labels: np.ndarray
    """uint8 (n,)."""


def read(dataset: DataSet, folder: Path) -> tuple[Samples, Samples]:
    """Training and test samples of `dataset` out of `folder`. Raises UserError on anything but the pinned content."""
    return (
        _samples(dataset, folder, dataset.train_images, dataset.train_labels),
        _samples(dataset, folder, dataset.test_images, dataset.test_labels),
    )


def _samples(dataset: DataSet, folder: Path, images_file: File, labels_file: File) -> Samples:
    images_name, labels_name = (shown(folder / file.name) for file in (images_file, labels_file))
    packed = {file: _packed(dataset, folder, file) for file in (images_file, labels_file)}
    try:
        images_data = idx.unpack(packed[images_file], images_file.size, images_name)
        labels_data = idx.unpack(packed[labels_file], labels_file.size, labels_name)
        # The structure before the digest: its errors say what is wrong, where a digest only says that something is.
        images = idx.images(images_data, dataset.image_shape, images_name)
        labels = idx.labels(labels_data, dataset.classes, labels_name)
        if len(images) != len(labels):
            raise UserError(f"{images_name}: count is {len(images):,}, but {labels_name} has {len(labels):,} labels")
        check_unpacked(images_file, images_data, images_name)
        check_unpacked(labels_file, labels_data, labels_name)
    except UserError as error:
        raise UserError(f"{error}. To replace it: python -m pipeline.fetch dataset={dataset.name}") from error
    return Samples(images, labels)


def _packed(dataset: DataSet, folder: Path, file: File) -> bytes:
    path = folder / file.name
    try:
        with open(path, "rb") as stream:
            return stream.read(file.most)
    except OSError as error:
        fetch = f"python -m pipeline.fetch dataset={dataset.name}"
        raise UserError(f"{shown(path)}: cannot be read ({error.strerror}). To have it: {fetch}") from error
