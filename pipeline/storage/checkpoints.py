"""Checkpoints of unfinished runs in the store of runs: `runs/.checkpoints/KEY.npz`."""

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
    """The checkpoints of the runs with these keys; see `pipeline.training.checkpoints.Checkpoints`.

    A key determines every bit of a run, so a checkpoint with that key is one of the same run.
    """

    def __init__(self, runs: Path, keys: Sequence[str], minutes: float) -> None:
        self._folder, self._keys = runs / FOLDER, keys
        self.seconds = 60 * minutes or math.inf

    def found(self) -> int:
        """Return how many runs have a checkpoint."""
        return sum(self._file(index).is_file() for index in range(len(self._keys)))

    def load(self, index: int) -> Checkpoint | None:
        """Return the checkpoint of a run; None if it is missing or damaged, and the run starts from the beginning."""
        try:
            with open(self._file(index), "rb") as stream, np.load(stream, allow_pickle=False) as found:
                progress = json.loads(str(found[PROGRESS]))
                return Checkpoint(progress, [found[str(number)] for number in range(len(found.files) - 1)])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def save(self, index: int, checkpoint: Checkpoint) -> None:
        arrays: dict[str, Any] = {str(number): array for number, array in enumerate(checkpoint.arrays)}
        arrays[PROGRESS] = np.array(json.dumps(checkpoint.progress))
        # Alone, since a writer takes the files of processes on other machines for leftovers and removes them.
        with (
            files.locked(self._folder.parent),
            files.atomic_write(self._file(index)) as temporary,
            open(temporary, "wb") as stream,
        ):
            np.savez(stream, **arrays)

    def remove(self, index: int) -> None:
        """Remove the checkpoint of a run that has ended."""
        self._file(index).unlink(missing_ok=True)

    def _file(self, index: int) -> Path:
        return self._folder / f"{self._keys[index]}.npz"
