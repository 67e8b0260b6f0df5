"""Whether the disks have room for what the runs of a plan leave behind."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.config.compose import ConfigurationError
from pipeline.storage import identity
from pipeline.sweep.plan import PlannedRun


def check(new: Sequence[PlannedRun], places: Mapping[str, Path]) -> None:
    """Raise UserError, a line for each place, if what the `new` runs leave behind cannot be written to `places`.

    `places` are folders by the key that names them; those on one file system are added up.
    """
    if not new:
        return
    problems, needed = [], Counter[int]()
    existing = {
        key: next(path for path in (folder, *folder.parents) if path.exists()) for key, folder in places.items()
    }
    for key, folder in existing.items():
        if folder.is_dir() and os.access(folder, os.W_OK):
            needed[folder.stat().st_dev] += needed_bytes(new, key)
        else:
            why = "may not be written to by this user" if folder.is_dir() else "is not a folder"
            problems.append(f"{key}={places[key]}: {folder} {why}; make it so, or name another place")
    for key, folder in existing.items():
        need, free = needed.pop(folder.stat().st_dev, 0), shutil.disk_usage(folder).free
        if free < need:
            problems.append(
                f"{key}={places[key]}: {free / 1e6:.1f} MB are free there, and {len(new)} runs leave about"
                f" {need / 1e6:.1f} MB; make room, or name another place"
            )
    if problems:
        raise ConfigurationError(problems)


def needed_bytes(new: Sequence[PlannedRun], key: str) -> int:
    """What the `new` runs and the weights of one of them take in the place of this key."""
    weights = 4 * max(run.parameters for run in new)
    if key == "tracking":  # an SQLite file: 15 MB for 245 runs, 1 MB for none
        return 1_000_000 + 64_000 * len(new) + weights
    samples, classes = len(new[0].arrays.test_labels), new[0].arrays.classes
    patch = len(identity.uncommitted())
    records = sum(20_000 + 1_000 * run.job.training.epochs + samples + patch for run in new)
    return records + weights + samples * classes * 4
