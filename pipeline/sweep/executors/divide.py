"""Divides the runs of a plan into shards of equal work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.cli.formatting import plural
from pipeline.sweep.plan import PlannedRun
from pipeline.training.shapes import cost, shape_of


def divide(runs: Sequence[PlannedRun], shards: int) -> list[list[PlannedRun]]:
    """`runs` in `shards` of equal work, as the engine reckons it.

    Runs that can share a compiled program stand side by side, the longest first, and this row is cut: so each cut costs
    at most one more compilation. Within a shard the order of the sweep is kept.
    """
    work = [cost(run.job) for run in runs]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for position, run in enumerate(runs):
        groups.setdefault((run.device, run.job.dataset, shape_of(run.job)), []).append(position)
    row = [position for group in sorted(groups.values(), key=lambda g: -work[g[0]]) for position in group]
    total, done, number = sum(work), 0.0, 0
    divided: list[list[int]] = [[] for _ in range(min(shards, len(row)))]
    for place, position in enumerate(row):
        # The shard in which the middle of this run lies; but no shard is skipped, and none stays empty at the end.
        middle = int(len(divided) * (done + work[position] / 2) / total)
        number = max(number, len(divided) - (len(row) - place), min(middle, number + bool(divided[number])))
        divided[number].append(position)
        done += work[position]
    return [[runs[position] for position in sorted(shard)] for shard in divided]


def sizes(shards: Sequence[Sequence[PlannedRun]]) -> str:
    """How many runs the shards have: `3 to 4 runs`."""
    low, high = min(map(len, shards)), max(map(len, shards))
    return f"{low} to {high} runs" if low < high else plural(low, "run")
