"""The recipes of conf/published.yaml as runs, with as many seeds as there is time for."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pipeline.config.compose import composed
from pipeline.statistics.published import Row
from pipeline.storage.store import RunStore
from pipeline.sweep.estimate import History, sweep_seconds
from pipeline.sweep.plan import PlannedRun, make_plan

FEWEST = 3
"""Seeds below which a recipe is not begun."""
QUESTION = "published figures"


def planned(row: Row, data: str, seeds: int) -> tuple[list[PlannedRun], dict[str, Any]]:
    """Every run of the row, its configurations with seeds from 0; and the configuration of the first one."""
    pairs = [word.split("=", 1) for word in row.runs]
    choices = [[f"{key}={value}" for value in values.split(",")] for key, values in pairs]
    words = [[*chosen, f"question={QUESTION}", f"paths.data={data}"] for chosen in itertools.product(*choices)]
    values = composed(words)
    plan = make_plan(values, words)
    return [run.of(replace(run.job, seed=at), [f"seed={at}"]) for run in plan for at in range(seeds)], values[0]


def affordable(runs: Sequence[PlannedRun], seeds: int, left: float, store: RunStore) -> tuple[int, float]:
    """The most seeds of a row that fit into `left` seconds, and what they take; 0 seeds if fewer than FEWEST do."""
    new = [run for run in runs if run.key not in store]
    each = History(store.records()).seconds_each(new)
    cost = 0.0
    for count in range(seeds, min(FEWEST, seeds) - 1, -1):
        chosen = [place for place, run in enumerate(new) if run.job.seed < count]
        cost = sweep_seconds([new[place] for place in chosen], [each[place] for place in chosen])
        if cost <= max(left, 0.0):
            return count, cost
    return 0, cost
