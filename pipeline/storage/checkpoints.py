"""Checkpoints of runs that still train, beside the runs that ended: `runs/.checkpoints/KEY.npz`."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data import files
from pipeline.training.checkpoints import Checkpoint

FOLDER = ".checkpoints"
PROGRESS = "progress"


class RunCheckpoints:
    """The checkpoints of the runs of these keys: see `pipeline.training.checkpoints.Checkpoints`.

    A key says what a run is to the last bit, so a checkpoint of that key is one of this very run.
    """

    def __init__(self, runs: Path, keys: Sequence[str], minutes: float) -> None:
        self._folder, self._keys = runs / FOLDER, keys
        self.seconds = 60 * minutes or math.inf

    def found(self) -> int:
        """How many runs have one."""
        return sum(self._file(index).is_file() for index in range(len(self._keys)))

    def load(self, index: int) -> Checkpoint | None:
        """None also for a damaged one: the run then starts anew."""
        try:
            with open(self._file(index), "rb") as stream, np.load(stream, allow_pickle=False) as found:
                progress = json.loads(str(found[PROGRESS]))
                return Checkpoint(progress, [found[str(number)] for number in range(len(found.files) - 1)])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def save(self, index: int, checkpoint: Checkpoint) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = {str(number): array for number, array in enumerate(checkpoint.arrays)}
        arrays[PROGRESS] = np.array(json.dumps(checkpoint.progress))
        with files.atomic_write(self._file(index)) as temporary, open(temporary, "wb") as stream:
            np.savez(stream, **arrays)

    def remove(self, index: int) -> None:
        """Of a run that has ended."""
        self._file(index).unlink(missing_ok=True)

    def _file(self, index: int) -> Path:
        return self._folder / f"{self._keys[index]}.npz"
