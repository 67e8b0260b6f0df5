"""Which seeds a comparison lacks: those to explore its differences, then those that would decide them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.statistics.analysis import Analysis
from pipeline.statistics.summary import CODE
from pipeline.training.result import FAILED, RunResult


@dataclass(frozen=True)
class MoreSeeds:
    seeds: int
    """The number of seeds that each configuration needs: declared to explore, or to confirm."""
    missing: Mapping[str, tuple[int, ...]]
    """The missing seeds by configuration."""
    decides: int
    """Contrasts that the seeds to confirm would decide; 0 for the seeds to explore."""

    @property
    def runs(self) -> int:
        return sum(map(len, self.missing.values()))


def more_seeds(analysis: Analysis, results: Sequence[RunResult]) -> MoreSeeds | None:
    """Return what to train next for one comparison; None if more seeds would decide nothing.

    Where some configuration has fewer seeds than it takes to explore, all get so many. Then those whose contrasts are
    undecided, and would be decided by the seeds to confirm, get these.
    """
    declared, table = analysis.declared, analysis.configurations
    if len(table) < 2 or CODE in table:
        return None  # nothing to compare, or code that one checkout does not hold
    there: dict[str, set[int]] = {str(name): set() for name in table.index}
    for run in results:
        if run.status != FAILED:
            there[run.job.configuration].add(run.job.seed)
    wanted, seeds, decides = list(there), declared.seeds_to_explore, 0
    if min(map(len, there.values())) >= seeds:
        rows = analysis.contrasts[np.isfinite(analysis.contrasts["more_seeds"].astype(float))]
        wanted = list(dict.fromkeys([*rows["a_configuration"], *rows["b_configuration"]]))
        seeds, decides = declared.seeds_to_confirm, len(rows)
    known: set[int] = set().union(*(there[name] for name in wanted))
    lacking = {name: tuple(seed for seed in _chosen(known, seeds) if seed not in there[name]) for name in wanted}
    missing = {name: own for name, own in lacking.items() if own}
    return MoreSeeds(seeds, missing, decides) if missing else None


def _chosen(known: set[int], count: int) -> list[int]:
    """Return `count` seeds: the known ones, then the smallest others if these are small, else those after the largest."""
    first = 0 if max(known, default=0) < count else max(known) + 1
    new = (seed for seed in range(first, first + count) if seed not in known)
    return [*sorted(known), *new][:count]
