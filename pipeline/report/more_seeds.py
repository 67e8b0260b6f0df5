"""The seeds that would decide, and the one command that trains them."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from pipeline.cli.formatting import plural
from pipeline.config import rules
from pipeline.config.run_config import RunConfig
from pipeline.statistics.analysis import Analysis
from pipeline.statistics.declaration import DEPTH, NETWORK, WIDTH
from pipeline.statistics.design import HIDDEN, NAME, default_of
from pipeline.statistics.summary import CODE, values_of
from pipeline.training.result import RunResult

GROUPS = {"dataset.name": "dataset", NETWORK: "model", NAME: "optimizer"}
"""Values that are the name of a file of conf/, and its folder."""
SET_BY_FILE = ("model.build", "optimizer.class")


@dataclass(frozen=True)
class MoreSeeds:
    reason: str
    words: tuple[str, ...]
    """Of `python -m pipeline.train`; empty where no single command trains these runs and no others."""
    runs: int
    """How many of them are not there yet."""

    @property
    def command(self) -> str:
        return shlex.join(["python", "-m", "pipeline.train", "-m", *self.words])

    @property
    def sentence(self) -> str:
        runs = plural(self.runs, "more run")
        if not self.words:
            return f"{self.reason}: {runs}. Their configurations are no grid, so no single command trains them."
        return f"{self.reason}: {runs}, by one command. Then `python -m pipeline.compare runs` has them too."


def more_seeds(analysis: Analysis, results: Sequence[RunResult], question: str = "") -> MoreSeeds | None:
    """What to train next of one comparison; None where more seeds would decide nothing. `question` is that of its sweep.

    Where some configuration has fewer seeds than it takes to explore, all get so many. Then those whose contrasts are
    undecided, and would be decided by the seeds to confirm, get these.
    """
    declared, table = analysis.declared, analysis.configurations
    if len(table) < 2 or CODE in table:
        return None  # nothing to compare, or code that one checkout does not hold
    jobs = {run.job.configuration: run.job for run in results}
    there = {name: {run.job.seed for run in results if run.job.configuration == name} for name in jobs}
    wanted, seeds = list(table.index), declared.seeds_to_explore
    reason = f"{seeds} seeds are enough to explore these differences"
    if min(map(len, there.values())) >= seeds:
        rows = analysis.contrasts[np.isfinite(analysis.contrasts["more_seeds"].astype(float))]
        wanted = list(dict.fromkeys([*rows["a_configuration"], *rows["b_configuration"]]))
        seeds = declared.seeds_to_confirm
        reason = f"{seeds} seeds would decide {plural(len(rows), 'contrast')} of {len(analysis.contrasts):,}"
    known: set[int] = set().union(*(there[name] for name in wanted))
    chosen = _seeds(known, seeds)
    missing = sorted({seed for name in wanted for seed in chosen if seed not in there[name]})
    count = sum(seed not in there[name] for name in wanted for seed in missing)
    if not missing:
        return None
    grid = _words([jobs[name] for name in wanted])
    if grid is None:
        return MoreSeeds(reason, (), count)
    asked = [f"question={question}"] if question else []
    return MoreSeeds(reason, (*grid, *_device(results[0]), *asked, f"seed={_shown(missing)}"), count)


def _seeds(known: set[int], count: int) -> list[int]:
    """So many seeds: those that are known, then the smallest others where these are small, else those after the largest."""
    first = 0 if max(known, default=0) < count else max(known) + 1
    new = (seed for seed in range(first, first + count) if seed not in known)
    return [*sorted(known), *new][:count]


def _shown(seeds: Sequence[int]) -> str:
    first, last = seeds[0], seeds[-1]
    return f"range({first},{last + 1})" if [*seeds] == [*range(first, last + 1)] else ",".join(map(str, seeds))


def _device(result: RunResult) -> list[str]:
    """The words of what computed a run, where it is not the default: runs of other numerics are no pairs."""
    numerics, default = result.identity.get("numerics", {}), rules.content("device", "auto")
    names = ("backend", "precision", "trainer")
    return [f"device.{name}={numerics[name]}" for name in names if numerics.get(name, default[name]) != default[name]]


def _words(jobs: Sequence[RunConfig]) -> list[str] | None:
    """The words that compose to these configurations and to no others; None where they are no grid."""
    values = [values_of(job) for job in jobs]
    # Each default is read from conf/ once, not once a configuration.
    default = cache(lambda name, *files: default_of(name, dict(zip(GROUPS, files, strict=True))))
    pairs = ((own, [own[group] for group in GROUPS]) for own in values)
    changed = (name for own, files in pairs for name, value in own.items() if value != default(name, *files))
    given = [name for name in dict.fromkeys([*GROUPS, *changed]) if name not in SET_BY_FILE]
    if any(name not in own for name in given for own in values):
        return None
    options = {name: sorted(dict.fromkeys(own[name] for own in values), key=_size) for name in given}
    if math.prod(map(len, options.values())) != len({tuple(own[name] for name in given) for own in values}):
        return None
    if any(value not in rules.options(GROUPS[name]) for name in GROUPS for value in options[name]):
        return None
    defaults = rules.content(".", "config")["defaults"]
    chosen = {group: file for each in defaults if isinstance(each, dict) for group, file in each.items()}
    return [
        word
        for name, found in options.items()
        if not (name in GROUPS and found == [chosen[GROUPS[name]]])
        for word in (_hidden(found) if name == HIDDEN else [f"{GROUPS.get(name, name)}={','.join(map(_text, found))}"])
    ]


def _size(value: Any) -> float:
    """For sorting: numbers by size, everything else as it comes."""
    return value if isinstance(value, int | float) else 0


def _hidden(found: Sequence[tuple[int, ...]]) -> list[str]:
    """The words of these hidden layers: by width and depth where they are a grid of both."""
    widths, depths = (list(dict.fromkeys(each)) for each in ([own[0] for own in found], map(len, found)))
    if {*found} != {(width,) * depth for width in widths for depth in depths}:
        return [f"{HIDDEN}={','.join(map(_text, found))}"]
    words = [f"{WIDTH}={','.join(map(str, widths))}", f"{DEPTH}={','.join(map(str, depths))}"]
    return words if depths != [1] else words[:1]


def _text(value: Any) -> str:
    """A value as it is typed."""
    return f"[{','.join(map(str, value))}]" if isinstance(value, tuple) else rules.shown(value)
