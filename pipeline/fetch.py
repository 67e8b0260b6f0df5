"""Fetch a data set's four files, checked against their digests: python -m pipeline.fetch dataset=mnist

The files come from the first place that has them whole: a folder beside the checkout (../shared/mnist), then
two addresses on the network. mirrors=FOLDER,https://… asks other places instead, and so does the variable
OVERFITTING_GAP_MIRRORS. What is already there and whole is kept. dataset=digits needs no download.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.data import sources
from pipeline.data.download import LIMITS, Limits, MirrorFailed
from pipeline.data.files import clear_leftovers, shown, whole
from pipeline.data.sources import DataSet, File, Mirror

DEFAULTS = {"dataset": "mnist", "raw": "data/raw", "mirrors": ""}


@dataclass(frozen=True)
class Fetched:
    kept: tuple[File, ...]
    """Files that were here and whole."""
    replaced: tuple[File, ...]
    """Files that were here and damaged."""
    source: str
    """Where the others came from; empty where none was missing."""
    size: int
    """Bytes of the four gzip files."""


def main(argv: Sequence[str]) -> None:
    started = time.perf_counter()
    values = console.words(argv, DEFAULTS, __doc__ or "")
    dataset = sources.find(values["dataset"])
    if not values["raw"]:
        raise UserError("raw=: expected a folder")
    folder = console.PROJECT / values["raw"] / dataset.name
    mirrors = sources.mirrors(dataset, console.PROJECT, os.environ, values["mirrors"])
    fetched = fetch(dataset, folder, mirrors)
    print(_summary(dataset, folder, fetched, time.perf_counter() - started))


def fetch(dataset: DataSet, folder: Path, mirrors: Sequence[Mirror], limits: Limits = LIMITS) -> Fetched:
    """Put the four files of `dataset` into `folder`. Those that are there and whole are kept."""
    if folder.is_dir():
        clear_leftovers(folder)
    here = [file for file in dataset.files if (folder / file.name).exists()]
    kept = [file for file in here if _whole(file, folder)]
    missing = [file for file in dataset.files if file not in kept]
    source = ""
    if missing:
        mirror, packed = sources.gather(dataset, missing, mirrors, lambda done: None, limits)
        for file, data in packed.items():
            with whole(folder / file.name) as temporary:
                temporary.write_bytes(data)
        source = mirror.address
    size = sum((folder / file.name).stat().st_size for file in dataset.files)
    return Fetched(tuple(kept), tuple(file for file in here if file not in kept), source, size)


def _whole(file: File, folder: Path) -> bool:
    try:
        data = sources.Folder(folder).read(file, 0.0, lambda done: None)
        return sources.checked(file, data) == data
    except (UserError, MirrorFailed):
        return False


def _summary(dataset: DataSet, folder: Path, fetched: Fetched, seconds: float) -> str:
    if not fetched.source:
        return f"{dataset.name}: all 4 files are in {shown(folder)} already, sha256 verified ({seconds:.2f} s)"
    kept = f", {len(fetched.kept)} kept" if fetched.kept else ""
    damaged = f" ({len(fetched.replaced)} damaged and replaced)" if fetched.replaced else ""
    files = 4 - len(fetched.kept)
    return (
        f"{dataset.name}: {files} file{'s' * (files > 1)} from {fetched.source}{damaged}{kept}, sha256 verified\n"
        f"{dataset.name}: {shown(folder)}, {fetched.size / 1e6:.2f} MB in 4 files ({seconds:.2f} s)"
    )


if __name__ == "__main__":
    console.run(main)
