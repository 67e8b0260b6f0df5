"""The outcome of a planned run, and the best run of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.storage.sweeps import Lost
from pipeline.sweep.plan import PlannedRun
from pipeline.training.outcome import Epoch
from pipeline.training.result import DIVERGED, FAILED, PRUNED, RunResult

INTERRUPTED = "interrupted"
"""The status of a run without a result, since its command ended first."""


Prune = Callable[[PlannedRun, Epoch], bool]
"""Whether a run ends after this point of its curve; see `pipeline.training.outcome.Prune`."""


@dataclass(frozen=True)
class Outcome:
    """A planned run and its result, or the reason why it has none."""

    run: PlannedRun
    result: RunResult | None = None
    reason: str = ""
    """Why the run was lost, if it has no result."""
    error: BaseException | None = None
    """The exception of a run that failed."""
    on_disk: bool = False
    """Whether its worker has stored the result."""

    @property
    def key(self) -> str:
        return self.result.key if self.result else self.run.key

    @property
    def finished(self) -> bool:
        return self.result is not None and self.result.finished

    @property
    def failed(self) -> bool:
        """Whether the same command trains it again."""
        return self.result is None or self.result.status == FAILED

    @property
    def pruned(self) -> bool:
        """Whether a search ended it early: it is neither finished nor lost."""
        return self.result is not None and self.result.status == PRUNED

    def lost(self) -> Lost:
        """The entry in the record of the sweep for a run that did not finish."""
        name, command = self.run.name, self.run.command
        if self.result is None:
            reason = self.reason or "the command ended before it was trained"
            return Lost(name, INTERRUPTED, reason, command, self.key)
        again = f"{command} retry=diverged" if self.result.status == DIVERGED else command
        return Lost(name, self.result.status, self.result.reason or "", again, self.key)


@dataclass(frozen=True)
class Batches:
    """Settings of a session whose runs come in batches, since results decide the next runs."""

    name: str
    """The same for the command that continues it."""
    total: int
    """Runs in all."""
    before: Sequence[Outcome]
    """Outcomes of the runs that earlier commands trained."""
    prune: Prune | None = None
    """Which runs end early: they are trained in this process."""


def lost_runs(outcomes: Collection[Outcome]) -> list[Lost]:
    return [outcome.lost() for outcome in outcomes if not (outcome.finished or outcome.pruned)]


def score(result: RunResult) -> float:
    """Return the validation accuracy with the final weights, by which runs are selected; minus infinity if there is none."""
    return result.metrics.get("val/accuracy", float("-inf"))


def best_of(outcomes: Collection[Outcome]) -> Outcome | None:
    """Return the run with the highest validation accuracy in the configuration with the highest mean.

    A configuration that lost a seed comes after all that lost none, since the mean of those that are left flatters it.
    Without validation samples nothing may be chosen: the first run stands for all.
    """
    scored = [(score(outcome.result), outcome) for outcome in outcomes if outcome.result and outcome.finished]
    if not scored:
        return None
    if any(accuracy == float("-inf") for accuracy, _ in scored):
        return scored[0][1]
    configurations: dict[str, list[tuple[float, Outcome]]] = {}
    for accuracy, outcome in scored:
        configurations.setdefault(outcome.run.job.configuration, []).append((accuracy, outcome))
    losing = {outcome.run.job.configuration for outcome in outcomes if outcome.result and not outcome.finished}

    def rank(configuration: str) -> tuple[bool, float]:
        accuracies = [accuracy for accuracy, _ in configurations[configuration]]
        return configuration not in losing, float(np.mean(accuracies))

    return max(configurations[max(configurations, key=rank)], key=lambda pair: pair[0])[1]
