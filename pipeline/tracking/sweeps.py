"""Sweeps in MLflow: the parent run that stands for one, and what killed processes left behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.tracking import describe, process, runs
from pipeline.tracking.runs import KILLED, RUNNING

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

SWEEP = "sweep.id"
MOST_IDS = 100
"""Ids that the run of a sweep that grew keeps: MLflow takes 8,000 letters."""


@dataclass(frozen=True)
class ParentRun:
    """What the run of MLflow that stands for a whole sweep is to be."""

    experiment: str
    name: str
    tags: Mapping[str, str]
    sweep_id: str | None = None
    """Processes that give the same id share one run, and a sweep that is continued finds its earlier one."""
    start: int | None = None
    """When it began, in milliseconds since 1970; None for now."""
    contains: Sequence[str] = ()
    """Ids of smaller sweeps: the first run that one of them has becomes this one's."""
    restore: bool = True
    """Whether a run that a person deleted comes back."""


def begin(client: MlflowClient, experiment_id: str, parent: ParentRun) -> str:
    """See `Tracker.begin`."""
    tags = dict(parent.tags) | process.tag()
    name = describe.fit(parent.name, describe.NAME_LIMIT)
    earlier: list[Run] = []
    if parent.sweep_id is not None:
        earlier = parents(client, experiment_id, parent.sweep_id, deleted=True)
        for smaller in parent.contains:
            earlier = earlier or parents(client, experiment_id, smaller)
        ids = earlier[0].data.tags[SWEEP].split("\n") if earlier else []
        tags[SWEEP] = "\n".join(list(dict.fromkeys([*ids, *parent.contains, parent.sweep_id]))[-MOST_IDS:])
    if not earlier:
        tags = {name: describe.fit(value, describe.TAG_LIMIT) for name, value in tags.items()}
        return str(client.create_run(experiment_id, parent.start, tags, name).info.run_id)
    run_id = str(earlier[0].info.run_id)
    if runs.deleted(earlier[0]):
        if not parent.restore:
            return ""
        client.restore_run(run_id)
    client.update_run(run_id, status=RUNNING, name=name)
    runs.send(client, run_id, tags=tags)
    return run_id


def parents(client: MlflowClient, experiment_id: str, sweep_id: str, *, deleted: bool = False) -> list[Run]:
    """The runs that stand for a sweep, the one to use first; there is one, except after accidents."""
    query = f"tags.`{SWEEP}` LIKE '%{sweep_id}%'"
    found = runs.search(client, [experiment_id], query, deleted=deleted)
    of_sweep = [run for run in found if sweep_id in run.data.tags[SWEEP].split("\n")]
    return sorted(of_sweep, key=runs.deleted)


def close_stale(client: MlflowClient) -> list[str]:
    """Mark as KILLED the runs that are RUNNING although the processes of this machine that worked on them are gone."""
    ours = f"tags.`{process.TAG}` LIKE '%{process.host()}%'"
    running = runs.search(client, runs.all_experiments(client), f"attributes.status = '{RUNNING}' and {ours}")
    stale = [run for run in running if process.dead(run.data.tags)]
    for run in stale:
        children = f"tags.`{describe.PARENT}` = '{run.info.run_id}'"
        last_child = runs.search(client, [run.info.experiment_id], children, limit=1)
        # When it died is not known; not before its last child ended.
        end = max([run.info.start_time, *(child.info.end_time or 0 for child in last_child)])
        client.set_terminated(run.info.run_id, KILLED, end)
    return [run.info.run_id for run in stale]
