"""The files of a data set as they were fetched, read to samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.cli.errors import UserError
from pipeline.data import idx, npz
from pipeline.data.files import shown
from pipeline.data.mirrors import checked
from pipeline.data.recorded import with_recorded
from pipeline.data.samples import Decoded, Samples, class_names, counted
from pipeline.data.sources import DataSet, File, Idx, Npz


def read(dataset: DataSet, folder: Path) -> Decoded:
    """Training and test samples of `dataset` out of `folder`. Raises UserError on anything but the content fetched."""
    fetch = f"python -m pipeline.fetch dataset={dataset.name}"
    dataset = with_recorded(dataset, folder)
    kept = {file: _kept(folder / file.name, fetch) for file in dataset.files}
    if not all(file.has_digest for file in dataset.files):
        raise UserError(f"{shown(folder)}: holds files whose digests nothing has recorded. To record them: {fetch}")
    try:
        # The structure before the digest: its errors say what is wrong, where a digest only says that something is.
        decoded = decode(dataset, kept, folder)
        for file, data in kept.items():
            checked(file, data, shown(folder / file.name))
    except UserError as error:
        raise UserError(f"{error}{'' if _are_whole(kept) else f'. To replace it: {fetch}'}") from error
    return decoded


def _are_whole(kept: Mapping[File, bytes]) -> bool:
    try:
        return all(checked(file, data) == data for file, data in kept.items())
    except UserError:
        return False


def decode(dataset: DataSet, kept: Mapping[File, bytes], folder: Path) -> Decoded:
    """The samples in the files of `dataset`, which are or will be in `folder`. Raises UserError on what is no data set."""
    names = {file: shown(folder / file.name) for file in kept}
    content = {file: idx.unpack(data, file.limit, names[file]) if file.is_gzip else data for file, data in kept.items()}
    source = dataset.source
    if isinstance(source, Idx):
        return _idx(source, content, names)
    if isinstance(source, Npz):
        return npz.decode(source, content[source.file], names[source.file])
    from pipeline.data import table  # pandas and scikit-learn, 2 s

    return table.decode(source, content, names)


def _kept(path: Path, fetch: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{shown(path)}: cannot be read ({error.strerror}). To have it: {fetch}") from error


def _idx(source: Idx, content: Mapping[File, bytes], names: Mapping[File, str]) -> Decoded:
    train_images = idx.images(content[source.train_images], None, names[source.train_images])
    shape = train_images.shape[1], train_images.shape[2]
    test_images = idx.images(content[source.test_images], shape, names[source.test_images])
    train_labels = idx.decode(content[source.train_labels], idx.LABELS, names[source.train_labels])
    test_labels = idx.decode(content[source.test_labels], idx.LABELS, names[source.test_labels])
    classes = class_names(source.classes, train_labels, source.first_label, names[source.train_labels])
    made = []
    for images, labels, images_file, labels_file in (
        (train_images, train_labels, source.train_images, source.train_labels),
        (test_images, test_labels, source.test_images, source.test_labels),
    ):
        numbered = counted(labels, source.first_label, len(classes), names[labels_file])
        if len(images) != len(labels):
            raise UserError(
                f"{names[images_file]}: count is {len(images):,}, but {names[labels_file]} has {len(labels):,} labels"
            )
        made.append(Samples(np.swapaxes(images, 1, 2) if source.transposed else images, numbered))
    return Decoded(made[0], made[1], classes, source.brightest)
