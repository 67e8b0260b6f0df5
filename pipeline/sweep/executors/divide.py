"""Divides the runs of a plan into shards of equal work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pipeline.cli.formatting import duration
from pipeline.config.run_config import RunConfig
from pipeline.storage.store import RunStore
from pipeline.sweep import estimate
from pipeline.sweep.plan import PlannedRun
from pipeline.sweep.pool import Pool
from pipeline.training.shapes import cost, shape_of


def shards_for(pool: Pool, runs: Sequence[PlannedRun], store: RunStore) -> tuple[list[list[int]], list[float | None]]:
    """Positions in `runs` of each shard, and the seconds that each run is expected to take."""
    seconds = estimate.expected_seconds(runs, list(estimate.earlier(store)))
    count = min(len(runs), pool.shares or math.ceil(len(runs) / pool.runs_per_share))
    return divide(runs, seconds, count), seconds


def divide(runs: Sequence[PlannedRun], seconds: Sequence[float | None], shards: int) -> list[list[int]]:
    """Positions in `runs`, divided into `shards` of equal work.

    Runs that can share a compiled program stand side by side, the longest first, and this row is cut: so each cut costs
    at most one more compilation. Work is the expected seconds if all are known, else what the engine orders jobs by.
    Within a shard the order of the sweep is kept.
    """
    known = [value for value in seconds if value is not None]
    work = known if len(known) == len(runs) else [cost(run.job) for run in runs]
    groups: dict[tuple[Any, ...], list[int]] = {}
    shapes: dict[str, RunConfig] = {}
    for position, run in enumerate(runs):
        if run.job.configuration not in shapes:
            shapes[run.job.configuration] = shape_of(run.job)
        groups.setdefault((run.device, run.job.dataset, shapes[run.job.configuration]), []).append(position)
    row = [position for group in sorted(groups.values(), key=lambda g: -work[g[0]]) for position in group]
    shards = min(shards, len(row))
    total, done = sum(work), 0.0
    divided: list[list[int]] = [[] for _ in range(shards)]
    number = 0
    for place, position in enumerate(row):
        # The shard in which the middle of this run lies; but no shard is skipped, and none stays empty at the end.
        middle = int(shards * (done + work[position] / 2) / total) if total else 0
        number = max(number, shards - (len(row) - place), min(middle, number + bool(divided[number]), shards - 1))
        divided[number].append(position)
        done += work[position]
    return [sorted(shard) for shard in divided]


def described(pool: Pool, runs: Sequence[PlannedRun], store: RunStore) -> str:
    """What `plan=true` says of the shards."""
    divided, seconds = shards_for(pool, runs, store)
    sizes = sorted({len(shard) for shard in divided})
    runs_each = f"{sizes[0]} to {sizes[-1]} runs" if len(sizes) > 1 else f"{sizes[0]} run{'s' if sizes[0] > 1 else ''}"
    line = f"shares: {len(divided)} of {runs_each}, by {pool.kind}"
    if all(value is not None for value in seconds):
        longest = max(sum(seconds[position] or 0.0 for position in shard) for shard in divided)
        line += f"; the longest has {duration(longest)} of training, as predicted for this machine"
    return line
