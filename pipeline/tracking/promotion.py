"""Promotion of a sweep's best network to champion, an alias in MLflow's model registry."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.cli.errors import UserError
from pipeline.cli.formatting import percent, plural
from pipeline.statistics.challenge import FEWEST, challenge
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import Sweep
from pipeline.tracking import models
from pipeline.tracking.describe import KEY, TAG_LIMIT, shorten
from pipeline.training.result import RunResult

if TYPE_CHECKING:
    from pipeline.data.arrays import Arrays
    from pipeline.tracking.tracker import Tracker

ALIAS = "champion"
CONFIGURATION, DATA, SEEDS = "run.configuration", "data.sha256", "val_accuracy.by_seed"


class NotPromoted(UserError):
    """The evidence does not support a promotion. Exit status 6."""

    exit_status = 6


@dataclass(frozen=True)
class Champion:
    """The registered model version with the alias."""

    version: str
    run_name: str
    key: str
    configuration: str
    data: str
    seeds: dict[int, float]
    """Validation accuracy of its configuration by seed."""


@dataclass(frozen=True)
class Candidate:
    """A sweep's best run, and all runs of its configuration, including itself."""

    best: RunResult
    runs: list[RunResult]

    @property
    def seeds(self) -> dict[int, float]:
        """Validation accuracy of the final weights by seed."""
        name = "val/accuracy"
        return {run.job.seed: run.metrics[name] for run in self.runs if name in run.metrics}


def candidate(sweep: Sweep, runs: RunStore) -> Candidate:
    if sweep.winner is None or sweep.winner not in runs:
        raise NotPromoted(f"{sweep.name}: has no best run to promote")
    best = runs.read(sweep.winner)
    same = [run for run in map(runs.record, sweep.keys) if run.job.configuration == best.job.configuration]
    if lost := sum(not run.finished for run in same):
        raise NotPromoted(f"{best.name}: {lost} of the {len(same)} seeds of its configuration were lost")
    return Candidate(best, same)


def check_better(best: RunResult, seeds: dict[int, float], champion: Champion | None) -> str:
    """Return the reason for a promotion. Raises NotPromoted unless `seeds` beat the champion beyond the spread."""
    if obstacle := _obstacle(best, seeds, champion):
        raise NotPromoted(f"{best.name}: {obstacle}")
    reason = f"validation accuracy {percent(np.mean([*seeds.values()]).item())} over {len(seeds)} seeds"
    if champion is None:
        return f"{reason}; there was no champion"
    found = challenge(seeds, champion.seeds)
    reason += f", {100 * found.difference:+.2f} points against the champion {champion.run_name} (p = {found.p:.2g})"
    if not found.won:
        raise NotPromoted(f"{best.name}: {reason}: not better beyond the spread of the seeds")
    return reason


def _obstacle(best: RunResult, seeds: dict[int, float], champion: Champion | None) -> str:
    """Return why candidate and champion cannot be compared; empty if they can."""
    if len(seeds) < FEWEST:
        return f"{plural(len(seeds), 'seed')} with a validation split; expected at least {FEWEST} to know their spread"
    if champion and champion.data != best.identity["data"]:
        return f"the champion {champion.run_name} was trained on other data; they cannot be compared"
    if champion and champion.configuration == best.job.configuration:
        return f"the champion {champion.run_name} has the same configuration; another seed is not better"
    return ""


def check_gap(candidate: Candidate, limit: float) -> str:
    """Check the mean validation gap against `limit`, in points, and return the reason. Nothing is chosen on the test split."""
    gap = 100 * float(np.mean([run.history["gap/accuracy"][-1] for run in candidate.runs]))
    reason = f"its gap of {gap:.2f} points to the validation split is"
    if gap >= limit:
        raise NotPromoted(f"{candidate.best.name}: {reason} not under the limit of {limit:g} (gap_limit)")
    return f"{reason} under the limit of {limit:g}"


# --- MLflow's model registry


def name_of(dataset: str) -> str:
    return f"{dataset}-dense"


def champion(tracker: Tracker, dataset: str) -> Champion | None:
    """Return the model version with the alias; None if there is none yet."""
    with tracker.connection.exclusive("look up the champion") as client:
        from mlflow.exceptions import MlflowException

        try:
            version = client.get_model_version_by_alias(name_of(dataset), ALIAS)
        except MlflowException as error:
            # An unreachable or locked store does not mean that there is no champion.
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):  # no model, no alias
                return None
            raise
    tags = version.tags
    seeds = {int(seed): float(value) for seed, value in json.loads(tags.get(SEEDS, "{}")).items()}
    name = tags.get("run.name", "")
    return Champion(version.version, name, tags.get(KEY, ""), tags.get(CONFIGURATION, ""), tags.get(DATA, ""), seeds)


def register(tracker: Tracker, candidate: Candidate, run_id: str, arrays: Arrays, reason: str) -> str:
    """Register the candidate's network as a new version, move the alias to it, and return the version."""
    best = candidate.best
    name = name_of(best.job.dataset.name)
    tags = {
        "reason": reason,
        "run.name": best.name,
        KEY: best.key,
        CONFIGURATION: best.job.configuration,
        DATA: best.identity["data"],
        SEEDS: json.dumps(candidate.seeds),
    }
    tags = {name: shorten(value, TAG_LIMIT) for name, value in tags.items()}
    with tracker.connection.exclusive(f"promote {best.name}") as client:
        from mlflow.exceptions import MlflowException

        model_id = models.log_served(tracker, run_id, best, arrays)
        what = f"Networks on {best.job.dataset.name}; `{ALIAS}` is the one to use."
        try:
            client.create_registered_model(name, description=what)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        source = f"models:/{model_id}"
        version = client.create_model_version(name, source, run_id, tags, description=reason, model_id=model_id)
        # Last: a version without the alias does no harm.
        client.set_registered_model_alias(name, ALIAS, version.version)
        return str(version.version)
