"""The files of a data set as fetched into `data/raw/NAME`, and a record of digests for files that declare none.

A digest is recorded when the file is first fetched; later content must match it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.cli.errors import UserError
from pipeline.data import idx, samples
from pipeline.data.download import MirrorFailed
from pipeline.data.files import atomic_write, display_path
from pipeline.data.mirrors import Folder, Mirror, checked, content_digest, kept
from pipeline.data.samples import Decoded
from pipeline.data.sources import DataSet, File, Idx, Npz

RECORD = "digests.json"


def read(dataset: DataSet, folder: Path) -> Decoded:
    """Read training and test samples of `dataset` from `folder`. Raises UserError unless the files are as fetched."""
    fetch = f"python -m pipeline.fetch dataset={dataset.name}"
    dataset = with_recorded(dataset, folder)
    try:
        found = {file: (folder / file.name).read_bytes() for file in dataset.files}
    except OSError as error:
        path = display_path(Path(error.filename))
        raise UserError(f"{path}: cannot be read ({error.strerror}). To fetch it: {fetch}") from error
    if not all(file.has_digest for file in dataset.files):
        raise UserError(f"{display_path(folder)}: contains files without a recorded digest. To record them: {fetch}")
    try:
        # Decode before verifying the digest: its errors say what is wrong.
        decoded = decode(dataset, found, folder)
        for file, data in found.items():
            checked(file, data, display_path(folder / file.name))
    except UserError as error:
        intact = all(kept(file, folder) is not None for file in dataset.files)
        raise UserError(f"{error}{'' if intact else f'. To replace it: {fetch}'}") from error
    return decoded


def decode(dataset: DataSet, found: Mapping[File, bytes], folder: Path) -> Decoded:
    """Decode the files of `dataset`, which are or will be in `folder`. Raises UserError if they are invalid."""
    names = {file: display_path(folder / file.name) for file in found}
    content = {
        file: idx.unpack(data, file.max_unpacked_bytes, names[file]) if file.is_gzip else data
        for file, data in found.items()
    }
    source = dataset.source
    if isinstance(source, Idx):
        return samples.of_idx(source, content, names)
    if isinstance(source, Npz):
        return samples.of_npz(source, content[source.file], names[source.file])
    from pipeline.data import table  # pandas and scikit-learn, 2 s

    return table.decode(source, content, names)


def with_recorded(dataset: DataSet, folder: Path) -> DataSet:
    """Return `dataset` with the digests recorded in `folder`. Raises UserError for a damaged record."""
    path = folder / RECORD
    if all(file.has_digest for file in dataset.files) or not path.exists():
        return dataset
    try:
        return dataset.with_digests({str(name): str(digest) for name, digest in json.loads(path.read_text()).items()})
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{display_path(path)}: cannot be read ({error}). {_refetch(folder)}") from error


def record(files: Sequence[File], folder: Path) -> None:
    """Record the digests of `files` in `folder`."""
    path = folder / RECORD
    found = json.loads(path.read_text()) if path.exists() else {}
    found |= {file.name: content_digest(file, (folder / file.name).read_bytes(), file.name) for file in files}
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n")


def refuse_change(files: Sequence[File], mirrors: Sequence[Mirror], folder: Path) -> None:
    """Raise UserError if one of `files` differs from its recorded digest in the first folder of `mirrors` that has it."""
    folders = [mirror for mirror in mirrors if isinstance(mirror, Folder)]
    for file in files:
        for mirror in folders:
            try:
                checked(file, mirror.read(file))
            except MirrorFailed:
                continue
            except UserError as error:
                raise UserError(
                    f"{file.name} in {mirror.address} differs from the file fetched before, whose digest is in "
                    f"{display_path(folder / RECORD)} ({str(file.sha256)[:12]}…). {_refetch(folder)}"
                ) from error
            break


def _refetch(folder: Path) -> str:
    return f"To fetch it again: rm -r {display_path(folder)}, then the same command"
