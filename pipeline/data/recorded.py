"""Digests of files that declare none: recorded when they are first fetched, and held from then on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.cli.errors import UserError
from pipeline.data.download import MirrorFailed
from pipeline.data.files import shown, whole
from pipeline.data.mirrors import Folder, Mirror, checked, content_digest
from pipeline.data.sources import DataSet, File

RECORD = "digests.json"


def with_recorded(dataset: DataSet, folder: Path) -> DataSet:
    """`dataset` with the digests that are recorded beside its fetched files. Raises UserError for a damaged record."""
    path = folder / RECORD
    if all(file.has_digest for file in dataset.files) or not path.exists():
        return dataset
    try:
        return dataset.with_digests({str(name): str(digest) for name, digest in json.loads(path.read_text()).items()})
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{shown(path)}: cannot be read ({error}). {_afresh(folder)}") from error


def record(files: Sequence[File], folder: Path) -> None:
    """Write down the digests of `files`, which lie in `folder`."""
    path = folder / RECORD
    found = json.loads(path.read_text()) if path.exists() else {}
    found |= {file.name: content_digest(file, (folder / file.name).read_bytes()) for file in files}
    with whole(path) as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n")


def refuse_change(files: Sequence[File], mirrors: Sequence[Mirror], folder: Path) -> None:
    """Raise UserError where the first folder among `mirrors` that has one of `files` has another content than recorded."""
    for file in files:
        for mirror in mirrors:
            try:
                data = mirror.read(file, 0.0) if isinstance(mirror, Folder) else None
            except MirrorFailed:
                continue
            if data is not None:
                _compare(file, data, mirror, folder)
                break


def _compare(file: File, data: bytes, mirror: Mirror, folder: Path) -> None:
    try:
        checked(file, data)
    except UserError as error:
        raise UserError(
            f"{file.name} in {mirror.address} is not what was fetched first ({shown(folder / RECORD)} has its digest: "
            f"{str(file.sha256)[:12]}…). {_afresh(folder)}"
        ) from error


def _afresh(folder: Path) -> str:
    return f"To take what is there now: rm -r {shown(folder)}, then the same command"
