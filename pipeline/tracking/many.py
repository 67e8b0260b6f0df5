"""Many finished runs into a store: what of them it has, the rest with several in flight, and none of them twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.tracking import describe, process
from pipeline.tracking.address import HTTP
from pipeline.tracking.tracker import FAILED, FINISHED, Tracker, TrackingUnavailable, quoted

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

    from pipeline.training.result import Result

IN_FLIGHT = 8
"""Runs that are sent to a server at once. Each is four calls, and with several workers uvicorn sends the head and the body of
an answer apart, without TCP_NODELAY: 40 ms of every call are waiting for an acknowledgement."""


ASKED_AT_ONCE = 100
"""Run ids in one question to a store."""


@dataclass
class There:
    """What a store has of a sweep, or of the runs of an experiment that belong to none."""

    parent: str | None = None
    ended: bool = False
    """Whether the parent run is."""
    ids: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of every whole run, by key."""

    def status(self, key: str) -> str:
        """`finished`, `diverged` or `failed`; empty where it is not there."""
        return self.ids.get(key, {}).get("status", "")


def look(
    tracker: Tracker, experiment: str, sweep_id: str | None, noted: Mapping[str, Mapping[str, str]] | None = None
) -> There:
    """What the store has of the sweep of this id, or, with None, of the experiment's runs that belong to no sweep.

    `noted`: by key, the ids that this store is said to have given. Where most runs have some, of this very parent, they are
    believed once two of them are found, and only the others are looked for: to list 10,000 runs takes a server minutes.
    """
    database = tracker.address.database
    if database is not None and not database.exists():
        return There()
    with tracker.recording("look for what is there") as client:
        found = client.get_experiment_by_name(experiment)
        if found is None:
            return There()
        there = There()
        if sweep_id is not None:
            parents = tracker.parents(client, found.experiment_id, sweep_id)
            if not parents:
                return there
            there = There(parents[0].info.run_id, parents[0].info.status in (FINISHED, FAILED))
        if there.parent and (known := _believed(tracker, client, found.experiment_id, noted or {}, there.parent)):
            there.ids = known
            return there
        for run in _children(tracker, client, found.experiment_id, there.parent):
            if run.info.status in (FINISHED, FAILED) and run.data.params:
                status = run.data.tags.get(describe.STATUS, "")
                ids = tracker.ids(run.info.run_id, found.experiment_id, there.parent, status)
                there.ids[run.data.tags[describe.KEY]] = ids
        return there


def confirmed(tracker: Tracker, noted: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Of the ids that this store is said to have given, by key, those whose run is there, whole, with that key and status."""
    database = tracker.address.database
    known = {ids["run_id"]: (key, ids) for key, ids in noted.items() if "run_id" in ids}
    if not known or (database is not None and not database.exists()):
        return {}
    found: dict[str, dict[str, str]] = {}
    with tracker.recording("look for what is noted") as client:
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        asked = sorted(known)
        for start in range(0, len(asked), ASKED_AT_ONCE):
            listed = ", ".join(quoted(run_id) for run_id in asked[start : start + ASKED_AT_ONCE])
            for run in tracker.search(client, experiments, f"attributes.run_id IN ({listed})"):
                key, _ = known[run.info.run_id]
                tags = run.data.tags
                if run.info.status in (FINISHED, FAILED) and tags.get(describe.KEY) == key:
                    parent, status = tags.get(describe.PARENT), tags.get(describe.STATUS, "")
                    found[key] = tracker.ids(run.info.run_id, run.info.experiment_id, parent, status)
    return found


def send(
    tracker: Tracker,
    results: Sequence[Result],
    experiment: str,
    there: There,
    dataset: Mapping[str, Any] | None = None,
) -> TrackingUnavailable | None:
    """Record `results`, none of which is whole in the store by `there`, which is brought up to date.

    What a person deleted is restored. What was not taken comes back as the error to raise.
    """
    parent = there.parent
    trouble: list[TrackingUnavailable] = []

    def one(result: Result) -> None:
        """One of a few in flight: nobody else writes from this machine meanwhile."""
        with tracker.failing(f"publish {result.name}"):
            row = tracker.record(client, result, experiment_id, parent, dataset, restore=True)
            there.ids[result.key] = tracker.ids(row.run_id, experiment_id, row.parent, result.status)

    def guarded(result: Result) -> None:
        try:
            one(result)
        except TrackingUnavailable as error:
            trouble.append(error)

    try:
        if not tracker.uri.startswith(HTTP):
            # One writer at a time anyway, and what is there it knows by itself.
            for result in results:
                there.ids[result.key] = tracker.publish(result, experiment, parent, dataset, restore=True)
            return None
        with tracker.recording(f"publish {len(results)} runs") as client:
            experiment_id = tracker.experiment(client, experiment)
            # The first run of an experiment makes its data set there; several at once would each want to.
            first = [] if there.ids else results[:1]
            for result in first:
                guarded(result)
            with ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="publish") as pool:
                list(pool.map(guarded, results[len(first) :]))
    except TrackingUnavailable as error:
        trouble.append(error)
    return trouble[0] if trouble else None


def single(tracker: Tracker, experiment: str, sweep_id: str | None, *, certainly: bool = False) -> int:
    """Leave one run of each key, and one parent of the sweep, where two machines published it at the same time.

    SQLite has a lock against that, a server has none: each first looks, then sends what was not there. Whoever
    comes to its end later sees both, and everybody leaves the same one. Looks at a sweep only where another process,
    by the parent's tag, has worked on it; `certainly` always. How many runs were taken away.
    """
    if tracker.address.database is not None:
        return 0
    with tracker.recording("leave one run of each key") as client:
        found = client.get_experiment_by_name(experiment)
        if found is None:
            return 0
        parents = [] if sweep_id is None else tracker.parents(client, found.experiment_id, sweep_id)
        if len(parents) == 1 and not certainly:
            tags = parents[0].data.tags
            if process.alone(tags):
                return 0
            # Two that wrote the tag at once lost one another: so that the other one looks too.
            working = process.tag(tags.get(process.TAG))[process.TAG]
            client.set_tag(parents[0].info.run_id, process.TAG, working, synchronous=True)
        [parent, *others] = [run.info.run_id for run in parents] or [None]
        extra = [other for other in others if other]
        by_key: dict[str, list[Run]] = {}
        for one in (parent, *others):
            for run in _children(tracker, client, found.experiment_id, one):
                by_key.setdefault(run.data.tags[describe.KEY], []).append(run)
        for runs in by_key.values():
            whole = [run for run in runs if run.info.status in (FINISHED, FAILED)]
            half = [run for run in runs if run not in whole and _ours_or_nobodys(run)]
            if not whole:
                continue
            kept, *twice = sorted(whole, key=lambda run: run.info.run_id)
            extra += [run.info.run_id for run in (*twice, *half)]
            if parent and kept.data.tags.get(describe.PARENT) != parent:
                client.set_tag(kept.info.run_id, describe.PARENT, parent, synchronous=True)
        for run_id in extra:
            tracker.discard(client, run_id)
        return len(extra)


def _believed(
    tracker: Tracker, client: MlflowClient, experiment_id: str, noted: Mapping[str, Mapping[str, str]], parent: str
) -> dict[str, dict[str, str]]:
    """What is noted of runs under `parent`, if that is most of them and the first and the last are in the store."""
    known = {key: dict(ids) for key, ids in noted.items() if ids.get("parent_run_id") == parent and "status" in ids}
    if 2 * len(known) <= len(noted):
        return {}
    wanted = {known[key]["run_id"]: key for key in (min(known), max(known))}
    listed = ", ".join(f"'{run_id}'" for run_id in wanted)
    runs = tracker.search(client, [experiment_id], f"attributes.run_id IN ({listed})")
    whole = {run.info.run_id: run.data.tags.get(describe.KEY) for run in runs if run.info.status in (FINISHED, FAILED)}
    return known if whole == wanted else {}


def _ours_or_nobodys(run: Run) -> bool:
    return process.alone(run.data.tags) or process.dead(run.data.tags)


def _children(tracker: Tracker, client: MlflowClient, experiment_id: str, parent: str | None) -> Iterable[Run]:
    of_it = f"tags.`{describe.PARENT}` = '{parent}'" if parent else f"tags.`{describe.PARENT}` IS NULL"
    runs = tracker.search(client, [experiment_id], of_it)
    return [run for run in runs if describe.KEY in run.data.tags]
