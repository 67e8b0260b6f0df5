"""Sweeps in MLflow: the parent run that stands for one, and what killed processes and second machines left behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.tracking import describe, process, runs
from pipeline.tracking.runs import FAILED, FINISHED, KILLED, RUNNING, quoted

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
    tags = {name: describe.fit(value, describe.TAG_LIMIT) for name, value in parent.tags.items()}
    name = describe.fit(parent.name, describe.NAME_LIMIT)
    earlier: list[Run] = []
    if parent.sweep_id is not None:
        deleted_too = parents(client, experiment_id, parent.sweep_id, deleted=True)
        earlier = [run for run in deleted_too if not runs.replaced(run)]
        for smaller in parent.contains:
            earlier = earlier or parents(client, experiment_id, smaller)
        ids = earlier[0].data.tags[SWEEP].split("\n") if earlier else []
        tags[SWEEP] = "\n".join(list(dict.fromkeys([*ids, *parent.contains, parent.sweep_id]))[-MOST_IDS:])
    if not earlier:
        return str(client.create_run(experiment_id, parent.start, tags | process.tag(), name).info.run_id)
    run_id, processes = earlier[0].info.run_id, earlier[0].data.tags.get(process.TAG)
    if earlier[0].info.lifecycle_stage != "active":
        if not parent.restore:
            return ""
        client.restore_run(run_id)
    client.update_run(run_id, status=RUNNING, name=name)
    runs.send(client, run_id, tags=tags | process.tag(processes))
    return str(run_id)


def parents(client: MlflowClient, experiment_id: str, sweep_id: str, *, deleted: bool = False) -> list[Run]:
    """The runs that stand for a sweep, the one to use first; there is one, except after accidents."""
    query = f"tags.`{SWEEP}` LIKE {quoted(f'%{sweep_id}%')}"
    found = runs.search(client, [experiment_id], query, deleted=deleted)
    of_sweep = [run for run in found if sweep_id in run.data.tags[SWEEP].split("\n")]
    return sorted(of_sweep, key=lambda run: run.info.lifecycle_stage != "active")


def close_stale(client: MlflowClient) -> list[str]:
    """Mark as KILLED the runs that are RUNNING although the processes of this machine that worked on them are gone."""
    ours = f"tags.`{process.TAG}` LIKE '%{process.host()}%'"
    running = runs.search(client, runs.all_experiments(client), f"attributes.status = '{RUNNING}' and {ours}")
    stale = [run for run in running if process.dead(run.data.tags)]
    for run in stale:
        last_child = children(client, run.info.experiment_id, run.info.run_id, limit=1)
        # When it died is not known; not before its last child ended.
        end = max([run.info.start_time, *(child.info.end_time or 0 for child in last_child)])
        client.set_terminated(run.info.run_id, KILLED, end)
    return [run.info.run_id for run in stale]


def children(client: MlflowClient, experiment_id: str, parent: str | None, limit: int | None = None) -> list[Run]:
    """The runs of a sweep, newest first; for None, the parents and single runs."""
    query = f"tags.`{describe.PARENT}` = {quoted(parent)}" if parent else f"tags.`{describe.PARENT}` IS NULL"
    return runs.search(client, [experiment_id], query, limit)


def remove_duplicates(client: MlflowClient, experiment_id: str, sweep_id: str | None, *, always: bool) -> int:
    """Keep one run of each key and one parent, if two machines published the same sweep at once; how many were deleted.

    A server has no lock against that. Whoever ends later sees all, and every machine keeps the same runs. Without `always`,
    nothing is looked for unless the parent's tag names another process. Without `sweep_id`, single runs are looked at.
    """
    found = parents(client, experiment_id, sweep_id) if sweep_id else []
    if len(found) == 1 and not always:
        tags = found[0].data.tags
        if process.alone(tags):
            return 0
        # Two processes that wrote the tag at once lost one of the names: this makes the other process look, too.
        client.set_tag(found[0].info.run_id, process.TAG, process.tag(tags.get(process.TAG))[process.TAG], True)
    kept_parent, *other_parents = [run.info.run_id for run in found] or [None]
    by_key: dict[str, list[Run]] = {}
    for parent in (kept_parent, *other_parents):
        for run in children(client, experiment_id, parent):
            if key := run.data.tags.get(describe.KEY):
                by_key.setdefault(key, []).append(run)
    extra = [parent for parent in other_parents if parent]
    for same_key in by_key.values():
        kept, duplicates = _choose(same_key)
        extra += [run.info.run_id for run in duplicates]
        if kept and kept_parent and kept.data.tags.get(describe.PARENT) != kept_parent:
            client.set_tag(kept.info.run_id, describe.PARENT, kept_parent, synchronous=True)
    for run_id in extra:
        runs.discard(client, run_id)
    return len(extra)


def _choose(same_key: Sequence[Run]) -> tuple[Run | None, list[Run]]:
    """Of the runs of one key the one to keep and those to delete; neither if none has ended."""
    ended = sorted(
        (run for run in same_key if run.info.status in (FINISHED, FAILED)), key=lambda run: str(run.info.run_id)
    )
    if not ended:
        return None, []
    tags = {run.info.run_id: run.data.tags for run in same_key if run not in ended}
    abandoned = {run_id for run_id, own in tags.items() if process.alone(own) or process.dead(own)}
    return ended[0], [*ended[1:], *(run for run in same_key if run.info.run_id in abandoned)]
