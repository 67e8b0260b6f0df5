"""Sweeps of more seeds for stored configurations, with the same data, code and numerics, so that runs are pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.cli.errors import UserError
from pipeline.config import compose
from pipeline.report.evidence import Evidence
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import Ledger
from pipeline.sweep import changes
from pipeline.sweep.plan import Plan, PlannedRun, Planner, from_project
from pipeline.sweep.pool import as_recorded, check_one_set_up
from pipeline.training.result import RunResult


@dataclass(frozen=True)
class SeedSweep:
    plan: Plan
    settings: dict[str, Any]

    @property
    def folder(self) -> Path:
        """The folder of results, to compare with the folders of the existing runs."""
        return from_project(self.settings["paths"]["results"] or self.settings["paths"]["runs"])


def seed_sweeps(evidence: Evidence, overrides: Sequence[str], command: str) -> list[SeedSweep]:
    """A sweep for each comparison that lacks seeds; those of the same folders that are to have equally many are one.

    `overrides` are the user's, `command` is what trains a lost run again. Raises UserError where new runs would be no pairs of
    the stored ones, or where a single process cannot train them all.
    """
    missing: dict[tuple[str, int], dict[str, Sequence[int]]] = {}
    for (_, experiment), more in evidence.more_seeds.items():
        missing.setdefault((experiment, more.seeds), {}).update(more.missing)
    found = []
    for (experiment, seeds), lacking in missing.items():
        [settings] = compose.composed([overrides])
        source = evidence.source(experiment)
        runs, folder = [run for run in source.results if run.job.configuration in lacking], source.folders[0]
        if source.sweeps:
            settings["question"] = source.sweeps[0].name
            target = folder.with_name(f"{folder.name}-{seeds}-seeds")
            while target in source.folders:  # writing to it would remove the runs that are compared
                target = target.with_name(f"{target.name}-more")
            settings["paths"]["results"] = str(target)
        else:
            keys = {run.key for run in runs}
            asked = (sweep.name for sweep in Ledger(RunStore(folder)) if keys & {*sweep.keys})
            settings["question"] = next(asked, settings["question"])
            settings["paths"]["runs"] = str(folder)
        found.append(SeedSweep(_plan(runs, lacking, settings, command), settings))
    check_one_set_up(run.device for sweep in found for run in sweep.plan)
    return found


def _plan(
    results: Sequence[RunResult], missing: Mapping[str, Sequence[int]], settings: Mapping[str, Any], command: str
) -> Plan:
    """Plan the runs of the `missing` seeds, each like the latest result of its configuration."""
    planner, device = Planner(from_project(settings["paths"]["data"])), settings["device"]
    unchanging = {name: device[name] for name in ("workers", "checkpoint_minutes")}
    plan: list[PlannedRun] = []
    latest = {run.job.configuration: run for run in sorted(results, key=lambda run: run.started)}
    for configuration, seeds in missing.items():
        then = latest[configuration]
        run = planner.run(then.job, as_recorded(then.identity["numerics"], **unchanging), again=command)
        if run.identity != then.identity:
            raise UserError(
                f"{then.job.name}: this has changed since: {'; '.join(changes.of_identity(then, run.identity))}; "
                "runs of further seeds would be no pairs, so train all of them again with python -m pipeline.train"
            )
        plan += [run.of(replace(then.job, seed=seed)) for seed in seeds]
    return tuple(plan)
