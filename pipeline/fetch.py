"""Fetch the files of a data set and verify their digests: python -m pipeline.fetch dataset=mnist

conf/dataset/NAME.yaml lists the files, their digests and their mirrors. The first mirror with valid copies of all missing
files is used: your folder (source.path), the folder ../shared/NAME next to the checkout, then the https addresses.
mirrors=FOLDER,https://… or the environment variable OVERFITTING_GAP_MIRRORS replaces these. Valid files that are already
there are kept. If a file declares no digest, its first digest is recorded and later changes are refused. dataset=digits
needs no download.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.cli import console, terminal
from pipeline.cli.formatting import plural
from pipeline.data import raw, sources
from pipeline.data.files import atomic_write, clear_leftovers, display_path
from pipeline.data.mirrors import Folder, Mirror, find_mirrors, kept, read_from_first
from pipeline.data.sources import DataSet, File

DEFAULTS = {"dataset": "mnist", "raw": "data/raw", "mirrors": ""}


@dataclass(frozen=True)
class Fetched:
    kept: tuple[File, ...]
    """Files that were there and valid."""
    replaced: tuple[File, ...]
    """Files that were there and damaged."""
    recorded: tuple[File, ...]
    """Files whose digests have been recorded."""
    source: str
    """Mirror of the other files; empty if none was missing."""
    size: int
    """Size of all files in bytes."""


def main(argv: Sequence[str]) -> None:
    started = time.perf_counter()
    values = console.read_options(argv, DEFAULTS, __doc__ or "")
    dataset = sources.find(values["dataset"])
    folder = console.PROJECT / values["raw"] / dataset.name
    fetched = fetch(dataset, folder, find_mirrors(dataset, console.PROJECT, os.environ, values["mirrors"]))
    print(_summary(dataset, folder, fetched, time.perf_counter() - started))
    terminal.suggest(f"python -m pipeline.preprocess dataset={dataset.name}")


def fetch(dataset: DataSet, folder: Path, mirrors: Sequence[Mirror]) -> Fetched:
    """Fetch the files of `dataset` into `folder`. Valid files that are already there are kept."""
    if folder.is_dir():
        clear_leftovers(folder)
    declared, dataset = dataset, raw.with_recorded(dataset, folder)
    raw.refuse_change([file for file in dataset.files if file not in declared.files], mirrors, folder)
    here = {file: data for file in dataset.files if (data := kept(file, folder))}
    missing = [file for file in dataset.files if file not in here]
    damaged = tuple(file for file in missing if (folder / file.name).exists())
    found: dict[File, bytes] = {}
    mirror: Mirror = Folder(folder)
    if missing:
        mirror, found = read_from_first(dataset, missing, mirrors)
    new = tuple(file for file in dataset.files if not file.has_digest)
    if new:
        # Do not record the digest of an invalid file.
        raw.decode(dataset, here | found, mirror.path if isinstance(mirror, Folder) else folder)
    for file, data in found.items():
        with atomic_write(folder / file.name) as temporary:
            temporary.write_bytes(data)
    if new:
        raw.record(new, folder)
    source = mirror.address if missing else ""
    return Fetched(tuple(here), damaged, new, source, sum(map(len, (here | found).values())))


def _summary(dataset: DataSet, folder: Path, fetched: Fetched, seconds: float) -> str:
    what = f"{plural(len(dataset.files), 'file')} in {display_path(folder)}, {fetched.size / 1e6:.2f} MB"
    damaged = f" ({len(fetched.replaced)} damaged and replaced)" if fetched.replaced else ""
    new = len(dataset.files) - len(fetched.kept)
    from_where = [f"{new} from {fetched.source}{damaged}"] if new else []
    from_where += [f"{len(fetched.kept)} kept"] if fetched.kept else []
    how = f"sha256 recorded in {display_path(folder / raw.RECORD)}" if fetched.recorded else "sha256 verified"
    return f"{dataset.name}: {what}: {', '.join(from_where)}, {how} ({seconds:.2f} s)"


if __name__ == "__main__":
    console.run(main)
