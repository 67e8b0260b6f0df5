"""Ways to train the runs of a plan: in this process, or in shards by workers of this machine or of a cluster."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Protocol

from pipeline.sweep.outcome import Outcome
from pipeline.sweep.plan import PlannedRun


class Executor(Protocol):
    def execute(self, runs: Sequence[PlannedRun]) -> Generator[Outcome]:
        """Train `runs`, whose keys differ; each has one outcome, with or without a result. Closing it ends all workers."""
