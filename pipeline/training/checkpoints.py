"""Checkpoints of long runs: a run that was stopped or killed goes on from its last one, to the same bits."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pipeline.training.outcome import Run

LEAST_SECONDS = 10.0
"""Training that is worth a checkpoint when a run is stopped."""


@dataclass(frozen=True)
class Checkpoint:
    """A run between two epochs."""

    progress: dict[str, Any]
    """See `Run.progress`."""
    arrays: list[np.ndarray]
    """All variables of network and optimizer, dropout states included, in the order in which the trainer has them."""


class Checkpoints(Protocol):
    """Where the runs of one call of a trainer keep their checkpoints."""

    @property
    def seconds(self) -> float:
        """From one checkpoint of a run to the next; infinite for none."""
        ...

    def load(self, index: int) -> Checkpoint | None:
        """The last one of the job at this place, if there is one that can be read."""
        ...

    def save(self, index: int, checkpoint: Checkpoint) -> None: ...


class NoCheckpoints:
    seconds = float("inf")

    def load(self, index: int) -> Checkpoint | None:
        return None

    def save(self, index: int, checkpoint: Checkpoint) -> None:
        raise AssertionError("not reached: no run trains for ever")


class Saving:
    """The checkpoints of some runs that train together, from the moment at which they begin or go on."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        self._last = time.monotonic()

    def save(self, runs: Sequence[Run], arrays_of: Callable[[int], list[np.ndarray]], stopped: bool = False) -> None:
        """Save each of `runs` if it is time, or if they are `stopped`; `arrays_of` gives the variables of the run at a place."""
        seconds = time.monotonic() - self._last
        if seconds < self._checkpoints.seconds and not (stopped and self._enabled and seconds >= LEAST_SECONDS):
            return
        for place, run in enumerate(runs):
            if run.trained and not run.non_finite:
                self._checkpoints.save(run.index, Checkpoint(run.progress(), arrays_of(place)))
        self._last = time.monotonic()

    @property
    def _enabled(self) -> bool:
        return self._checkpoints.seconds < float("inf")
