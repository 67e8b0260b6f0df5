"""Divides the runs of a plan into shards of equal work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pipeline.cli.formatting import plural
from pipeline.config.run_config import RunConfig
from pipeline.sweep.plan import PlannedRun
from pipeline.sweep.pool import Pool
from pipeline.training.shapes import cost, shape_of


def shard_count(pool: Pool, runs: Sequence[PlannedRun]) -> int:
    return min(len(runs), pool.shares or math.ceil(len(runs) / pool.runs_per_share))


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


def sizes(shards: Sequence[Sequence[int]]) -> str:
    """How many runs the shards have: `3 to 4 runs`."""
    low, high = min(map(len, shards)), max(map(len, shards))
    return f"{low} to {high} runs" if low < high else plural(low, "run")
