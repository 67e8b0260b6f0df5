"""Checkpoints of long runs: a run that was stopped or killed resumes from its last one and ends with the same bits."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pipeline.training.outcome import Run

LEAST_SECONDS = 10.0
"""Least training time since the last checkpoint for which a stopped run saves another one."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run between two epochs."""

    progress: dict[str, Any]
    """See `Run.progress`."""
    arrays: list[np.ndarray]
    """All variables of network and optimizer, dropout states included, in the order of the trainer."""


class Checkpoints(Protocol):
    """Storage for the checkpoints of the runs in one call of a trainer."""

    @property
    def seconds(self) -> float:
        """Seconds between checkpoints of a run; infinite for none."""
        ...

    def load(self, index: int) -> Checkpoint | None:
        """Return the last readable checkpoint of the job at this index, or None."""
        ...

    def save(self, index: int, checkpoint: Checkpoint) -> None: ...


class NoCheckpoints:
    seconds = float("inf")

    def load(self, index: int) -> Checkpoint | None:
        return None

    def save(self, index: int, checkpoint: Checkpoint) -> None:
        raise AssertionError("not reached: no run trains for ever")


class Saving:
    """Saves checkpoints of runs that train together; time counts from when they start or resume."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        self._last = time.monotonic()

    def save(self, runs: Sequence[Run], arrays_of: Callable[[int], list[np.ndarray]], stopped: bool = False) -> None:
        """Save each of `runs` if a checkpoint is due or they are `stopped`; `arrays_of(i)` returns the variables of `runs[i]`."""
        seconds = time.monotonic() - self._last
        if seconds < self._checkpoints.seconds and not (stopped and self._enabled and seconds >= LEAST_SECONDS):
            return
        for slot, run in enumerate(runs):
            if run.trained and not run.non_finite:
                self._checkpoints.save(run.index, Checkpoint(run.progress(), arrays_of(slot)))
        self._last = time.monotonic()

    @property
    def _enabled(self) -> bool:
        return self._checkpoints.seconds < float("inf")
