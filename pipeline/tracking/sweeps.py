"""Sweeps in MLflow: the parent run that stands for one, and what is left behind by killed processes and by two machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.tracking import describe, process, runs
from pipeline.tracking.runs import FAILED, FINISHED, KILLED, RUNNING, quoted
from pipeline.tracking.writing import fit_name, send

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

SWEEP = "sweep.id"
SWEEPS = 100
"""Ids that the run of a sweep that grew keeps: MLflow takes 8,000 letters."""


def begin(
    client: MlflowClient,
    experiment_id: str,
    name: str,
    tags: Mapping[str, str],
    sweep_id: str | None = None,
    start: int | None = None,
    grown: Sequence[str] = (),
    restore: bool = True,
) -> str:
    """See `Tracker.begin`."""
    told = {key: describe.fit(str(value), describe.TAG_LIMIT) for key, value in tags.items()}
    found: list[Run] = []
    if sweep_id is not None:
        found = [run for run in parents(client, experiment_id, sweep_id, deleted=True) if not runs.replaced(run)]
        for smaller in grown:
            found = found or parents(client, experiment_id, smaller)
        ids = found[0].data.tags[SWEEP].split("\n") if found else []
        told[SWEEP] = "\n".join(list(dict.fromkeys([*ids, *grown, sweep_id]))[-SWEEPS:])
    if not found:
        return str(client.create_run(experiment_id, start, told | process.tag(), fit_name(name)).info.run_id)
    run_id, before = found[0].info.run_id, found[0].data.tags.get(process.TAG)
    if found[0].info.lifecycle_stage != "active":
        if not restore:
            return ""
        client.restore_run(run_id)
    client.update_run(run_id, status=RUNNING, name=fit_name(name))
    send(client, run_id, [], {}, told | process.tag(before))
    return str(run_id)


def parents(client: MlflowClient, experiment_id: str, sweep_id: str, *, deleted: bool = False) -> list[Run]:
    """The runs that stand for a sweep, the one to use first; there is one, except after accidents."""
    query = f"tags.`{SWEEP}` LIKE {quoted(f'%{sweep_id}%')}"
    found = runs.search(client, [experiment_id], query, deleted=deleted)
    named = [run for run in found if sweep_id in run.data.tags[SWEEP].split("\n")]
    return sorted(named, key=lambda run: run.info.lifecycle_stage != "active")


def close_stale(client: MlflowClient) -> list[str]:
    """Mark as KILLED the runs that are RUNNING although the processes of this machine that worked on them are gone."""
    ours = f"tags.`{process.TAG}` LIKE '%{process.host()}%'"
    running = runs.search(client, runs.all_experiments(client), f"attributes.status = '{RUNNING}' and {ours}")
    stale = [run for run in running if process.dead(run.data.tags)]
    for run in stale:
        last_child = children(client, run.info.experiment_id, run.info.run_id, limit=1)
        # When it died is not known; not before its last child ended.
        last = max([run.info.start_time, *(child.info.end_time or 0 for child in last_child)])
        client.set_terminated(run.info.run_id, KILLED, last)
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
    kept_parent, *others = [run.info.run_id for run in found] or [None]
    extra = [parent for parent in others if parent]
    by_key: dict[str, list[Run]] = {}
    for parent in (kept_parent, *others):
        for run in children(client, experiment_id, parent):
            if key := run.data.tags.get(describe.KEY):
                by_key.setdefault(key, []).append(run)
    for of_key in by_key.values():
        whole = sorted(
            (run for run in of_key if run.info.status in (FINISHED, FAILED)), key=lambda run: run.info.run_id
        )
        if not whole:
            continue
        abandoned = [run for run in of_key if run not in whole and _abandoned(run)]
        extra += [run.info.run_id for run in (*whole[1:], *abandoned)]
        if kept_parent and whole[0].data.tags.get(describe.PARENT) != kept_parent:
            client.set_tag(whole[0].info.run_id, describe.PARENT, kept_parent, synchronous=True)
    for run_id in extra:
        runs.discard(client, run_id)
    return len(extra)


def _abandoned(run: Run) -> bool:
    return process.alone(run.data.tags) or process.dead(run.data.tags)
