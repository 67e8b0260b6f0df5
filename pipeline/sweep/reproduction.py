"""Train stored runs again, from their records alone, and judge whether the bits are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from pipeline.cli import terminal
from pipeline.cli.errors import UserError
from pipeline.data.arrays import Arrays
from pipeline.storage import identity
from pipeline.storage.divergence import first_divergence
from pipeline.storage.store import RunStore
from pipeline.sweep import changes
from pipeline.sweep.executors.this_process import ThisProcess
from pipeline.sweep.outcome import Outcome
from pipeline.sweep.plan import PlannedRun, Planner
from pipeline.sweep.pool import as_recorded, check_one_set_up
from pipeline.training.result import FAILED, RunResult


class Verdict(StrEnum):
    """In order of severity."""

    IDENTICAL = "identical"
    CONSISTENT = "consistent"
    IMPOSSIBLE = "impossible"
    INCONSISTENT = "inconsistent"
    DEFECT = "defect"

    @property
    def description(self) -> str:
        return DESCRIPTIONS.get(self, self.value)


DESCRIPTIONS = {
    Verdict.CONSISTENT: "different, and statistically consistent",
    Verdict.IMPOSSIBLE: "cannot be repeated",
    Verdict.DEFECT: "different, though nothing differs that decides: a defect",
}


@dataclass(frozen=True)
class Reproduction:
    """The verdict on training a run again."""

    then: RunResult
    verdict: Verdict
    explanation: str
    differences: tuple[str, ...] = ()
    """What decides bits and has changed since, a line each."""

    def lines(self, called: str, brief: bool) -> list[str]:
        """Return the verdict on the run of this name; unless `brief`, also what has changed and where the two runs diverge."""
        name = f"{called} ({self.then.key[:12]}): {self.verdict.description}"
        if brief and self.verdict == Verdict.IDENTICAL:
            return [name]
        return [*(f"  {line}" for line in self.differences), f"{name}: {self.explanation}"]


def reproduce(results: Sequence[RunResult], data: Path, store: RunStore) -> list[Reproduction]:
    """Train each of `results` again and compare them with the record.

    `data` is the folder of all data sets; `store` has the other seeds, which tell how much a metric varies.
    """
    recorded = {result.key: result for result in results}
    found: dict[str, Reproduction] = {}
    arrays = Planner(data).arrays
    runs: list[PlannedRun] = []
    for then in results:
        try:
            run = _planned(then, arrays(then.job.dataset.name))
            check_one_set_up(each.device for each in (*runs[:1], run))
            runs.append(run)
        except UserError as error:
            found[then.key] = Reproduction(then, Verdict.IMPOSSIBLE, str(error))
    try:
        terminal.show("training again", 0, len(runs))
        for outcome in ThisProcess().execute(runs):
            terminal.show("training again", len(found) + 1, len(results), f"{len(found) + 1}/{len(results)} runs")
            found[outcome.run.key] = _judge(recorded[outcome.run.key], outcome, store)
    except UserError as error:  # another backend than that of the runs before, for example
        for run in runs:
            found.setdefault(run.key, Reproduction(recorded[run.key], Verdict.IMPOSSIBLE, str(error)))
    return [found[result.key] for result in results]


def _planned(then: RunResult, arrays: Arrays) -> PlannedRun:
    """Return the recorded run on its own device and data. Raises UserError if these, or its custom code, are not available."""
    if then.identity["data"] != arrays.digest:
        here, was = arrays.digest[:12], then.identity["data"][:12]
        raise UserError(f"its data are not here: {arrays.name} has the digest {here}, the run had {was}")
    identity.sources(then.identity["numerics"], custom_code=then.job.custom_code)
    return PlannedRun(then.job, as_recorded(then.identity["numerics"], workers=0), arrays, then.key, then.identity, [])


def _judge(then: RunResult, outcome: Outcome, store: RunStore) -> Reproduction:
    now = outcome.result
    assert now is not None
    here = outcome.run.device.numerics()
    differences = tuple(changes.deciding(then, here, now.environment["numerics_class"]))
    if now.status == FAILED:
        return Reproduction(then, Verdict.IMPOSSIBLE, f"training it again failed: {now.reason}", differences)
    divergence = first_divergence(then, now)
    if divergence is None:
        why = "every bit is the same: initial weights, batch order, each epoch, final weights, predictions"
        return Reproduction(then, Verdict.IDENTICAL, why, differences)
    if not differences:
        return Reproduction(then, Verdict.DEFECT, divergence)
    consistent, why = consistency(then, now, outcome.run.arrays.test_labels, store)
    verdict = Verdict.CONSISTENT if consistent else Verdict.INCONSISTENT
    return Reproduction(then, verdict, f"{divergence}; {why}", differences)


def consistency(then: RunResult, now: RunResult, labels: np.ndarray, store: RunStore) -> tuple[bool, str]:
    """Whether two results differ no more than two seeds do; by the test images if there are fewer than three seeds."""
    from pipeline.report.prose.verdicts import repetition
    from pipeline.statistics.consistency import against_seeds, on_images

    if not (then.finished and now.finished):
        return then.status == now.status, f"{then.status} then, {now.status} now"
    seeds = {
        result.job.seed: result.metrics["test/accuracy"]
        for result in store.records()
        if result.finished and result.job.configuration == then.job.configuration and result.identity == then.identity
    } | {then.job.seed: then.metrics["test/accuracy"]}
    if len(seeds) >= 3:
        found = against_seeds(then.metrics["test/accuracy"], now.metrics["test/accuracy"], list(seeds.values()))
    elif then.predictions is None or now.predictions is None:
        return False, "too few seeds here, and no predictions recorded, to tell whether it is consistent"
    else:
        found = on_images(labels, then.predictions, now.predictions)
    return found.consistent, repetition(found)
