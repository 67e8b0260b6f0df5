"""Checks that the disks have space for the runs of a plan."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.config.compose import ConfigurationError
from pipeline.storage import identity
from pipeline.sweep.plan import PlannedRun, from_project


def check(new: Sequence[PlannedRun], settings: Mapping[str, Any], runs: Path, database: Path | None) -> None:
    """Raise UserError, with a line per disk, if the output of the `new` runs does not fit.

    The places are the store of `runs`, a folder of results where `settings` name one, and the folder of MLflow's `database`; they
    are taken to be on one disk.
    """
    results = settings["paths"]["results"]
    found = {
        "paths.runs": runs,
        "paths.results": from_project(results) if results else None,
        "tracking": database.parent if database else None,
    }
    places = {key: place for key, place in found.items() if place}
    if not new:
        return
    needed = needed_bytes(new) * len(places)
    problems = {f"{key}={place}": _problem(place, needed) for key, place in places.items()}
    if lines := [f"{place}: {why}, or name another place" for place, why in problems.items() if why]:
        raise ConfigurationError(lines)


def _problem(place: Path, needed: int) -> str:
    """Return why `needed` bytes cannot be written there; empty if they can."""
    folder = next(path for path in (place, *place.parents) if path.exists())
    if not folder.is_dir():
        return f"{folder} is not a folder; make it so"
    if not os.access(folder, os.W_OK):
        return f"{folder} may not be written to by this user; make it so"
    free = shutil.disk_usage(folder).free
    short = f"{free / 1e6:.1f} MB are free there, and the runs leave about {needed / 1e6:.1f} MB; make room"
    return short if free < needed else ""


def needed_bytes(new: Sequence[PlannedRun]) -> int:
    """Return the bytes of the `new` runs and the weights of one of them in one place: run folders, or MLflow (64 kB a run)."""
    weights = 4 * max(run.parameters for run in new)
    samples, classes = len(new[0].arrays.test_labels), new[0].arrays.classes
    each = max(64_000, 20_000 + 1_000 * max(run.job.training.epochs for run in new) + samples)
    return len(new) * (each + len(identity.uncommitted())) + weights + samples * classes * 4
