"""Ways to train the runs of a plan, and which of them a plan takes."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Protocol

from pipeline.storage.store import RunStore
from pipeline.sweep.executors import cores, gpus
from pipeline.sweep.executors.shards import Shards
from pipeline.sweep.executors.this_process import ThisProcess
from pipeline.sweep.outcome import Outcome
from pipeline.sweep.plan import PlannedRun, from_project, total_memory
from pipeline.sweep.pool import Pool


class Executor(Protocol):
    def execute(self, runs: Sequence[PlannedRun]) -> Generator[Outcome]:
        """Train `runs`, whose keys differ; each has one outcome, with or without a result. Closing it ends all workers."""


def choose_executor(
    runs: Sequence[PlannedRun],
    settings: Mapping[str, Any],
    pool: Pool | None,
    store: RunStore,
    sweep_id: str,
    this_process: ThisProcess,
) -> Executor:
    """Shards if the launcher has a pool, or if one process would leave GPUs or cores idle; else this process."""
    data = from_project(settings["paths"]["data"])
    if chosen := pool or gpus.pool(runs, settings["device"]):
        return Shards(chosen, store, data, sweep_id)
    if on_cores := cores.pool(runs, total_memory()):
        return Shards(on_cores, store, data, sweep_id, workers=1)
    return this_process
