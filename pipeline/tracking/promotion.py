"""Whether a sweep's best network may become the champion: the reasons for it, or the first one against it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.cli.errors import UserError
from pipeline.cli.formatting import percent, plural
from pipeline.statistics.challenge import FEWEST, challenge
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import Sweep
from pipeline.tracking.registry import Champion
from pipeline.training.result import RunResult


class NotPromoted(UserError):
    """The evidence does not support a promotion. Exit status 6."""

    exit_status = 6


@dataclass(frozen=True)
class Candidate:
    """A sweep's best run, and the runs of its configuration, itself among them."""

    best: RunResult
    runs: list[RunResult]

    @property
    def seeds(self) -> dict[int, float]:
        """Validation accuracy of the final weights by seed."""
        name = "val/accuracy"
        return {run.job.seed: run.figures[name] for run in self.runs if name in run.figures}


def candidate(sweep: Sweep, runs: RunStore) -> Candidate:
    if sweep.winner is None or sweep.winner not in runs:
        raise NotPromoted(f"{sweep.name}: has no best run to promote")
    best = runs.read(sweep.winner)
    same = [run for run in map(runs.record, sweep.keys) if run.job.configuration == best.job.configuration]
    if lost := sum(not run.finished for run in same):
        raise NotPromoted(f"{best.name}: {lost} of the {len(same)} seeds of its configuration were lost")
    return Candidate(best, same)


def better(best: RunResult, seeds: dict[int, float], champion: Champion | None) -> str:
    """Compare validation accuracy by seed with the champion's. Raises NotPromoted unless it is better beyond the spread."""
    if len(seeds) < FEWEST:
        few = plural(len(seeds), "seed")
        raise NotPromoted(
            f"{best.name}: {few} with a validation split; expected at least {FEWEST} to know their spread"
        )
    reason = f"validation accuracy {percent(np.mean([*seeds.values()]).item())} over {len(seeds)} seeds"
    if champion is None:
        return f"{reason}; there was no champion"
    if champion.data != best.identity["data"]:
        raise NotPromoted(
            f"{best.name}: the champion {champion.run_name} was trained on other data; they cannot be compared"
        )
    if champion.configuration == best.job.configuration:
        raise NotPromoted(
            f"{best.name}: the champion {champion.run_name} has the same configuration; another seed is not better"
        )
    found = challenge(seeds, champion.seeds)
    reason += f", {100 * found.difference:+.2f} points against the champion {champion.run_name} (p = {found.p:.2g})"
    if not found.won:
        raise NotPromoted(f"{best.name}: {reason}: not better beyond the spread of the seeds")
    return reason


def small_gap(candidate: Candidate, limit: float) -> str:
    """Hold the mean gap to the validation split against `limit`, in points. Nothing is chosen on the test split."""
    gap = 100 * float(np.mean([run.history["gap/accuracy"][-1] for run in candidate.runs]))
    words = f"its gap of {gap:.2f} points to the validation split is"
    if gap >= limit:
        raise NotPromoted(f"{candidate.best.name}: {words} not under the limit of {limit:g} (gap_limit)")
    return f"{words} under the limit of {limit:g}"
