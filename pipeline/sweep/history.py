"""What a training will take, by earlier runs and sweeps of this machine, or by its work where there are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.storage import identity
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import Ledger, Sweep
from pipeline.sweep import estimate
from pipeline.sweep.estimate import EarlierRun
from pipeline.sweep.plan import PlannedRun

PRODUCTS_PER_SECOND = 10e9 / 3
"""Of a core, roughly."""


@dataclass(frozen=True)
class History:
    runs: list[EarlierRun]
    sweeps: list[Sweep]

    @classmethod
    def of(cls, store: RunStore) -> History:
        sweeps = [sweep for sweep in Ledger(store) if sweep.machine == identity.machine() and sweep.trained]
        return cls(list(estimate.earlier(store)), sweeps)

    def seconds(self, runs: Sequence[PlannedRun]) -> float:
        """By the wall clock, of all `runs`."""
        if not runs:
            return 0.0
        seconds = [
            estimate.work(run.job, *map(int, run.arrays.train_images.shape)) / PRODUCTS_PER_SECOND
            if known is None
            else known
            for run, known in zip(runs, estimate.expected_seconds(runs, self.runs), strict=True)
        ]
        return estimate.wall_seconds(seconds, runs, self.sweeps)
