"""Which executor trains the runs of a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.storage.store import RunStore
from pipeline.sweep.executors import Executor, cores, gpus
from pipeline.sweep.executors.shards import Shards
from pipeline.sweep.executors.this_process import ThisProcess
from pipeline.sweep.plan import PlannedRun, from_project, total_memory
from pipeline.sweep.pool import Pool


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
