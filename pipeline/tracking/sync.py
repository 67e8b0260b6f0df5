"""Bring an MLflow store up to date with a folder of runs: what it lacks is sent, sweep by sweep."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from pipeline.config import rules
from pipeline.config.names import names
from pipeline.storage.record import UnreadableRun
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import ENDED, SWEEP, Ledger, Sweep, lost_tags, related, title
from pipeline.tracking import models
from pipeline.tracking.describe import NOTE, Point, of_best, origin_tags, span
from pipeline.tracking.runs import FAILED, FINISHED, KILLED
from pipeline.tracking.tracker import ParentRun, Tracker
from pipeline.training import result

AT_ONCE = 64
"""Runs between two lines of progress, and between two moments at which another process may write to the store."""


@dataclass
class Group:
    """The runs of a sweep, or those that belong to none, and what the store has of them."""

    question: str
    keys: list[str]
    sweep: Sweep | None = None
    contains: list[str] = field(default_factory=list)
    """Ids of the sweeps that are part of this one, and share its parent run."""
    ids: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of the runs that the store has, by key."""
    unsent: list[str] = field(default_factory=list)
    """Keys of the runs to send."""
    ended: bool = True
    """Whether its parent run, if it has one, has ended."""


def groups(store: RunStore) -> list[Group]:
    """The sweeps, first one first, and at the end the runs that belong to none."""
    here = dict.fromkeys(store.keys())
    # The folder of one sweep, which may come from elsewhere, has its record.
    sweeps = [Sweep.read(store.root)] if (store.root / SWEEP).is_file() else [*reversed(list(Ledger(store)))]
    found: list[Group] = []
    of_sweeps: set[str] = set()
    for sweep in sweeps:
        contained, larger = related(sweeps, sweep.name, sweep.asked)
        if sweep.id and not larger:
            of_sweeps |= sweep.asked
            # Runs that a killed command had not noted are in its record as still to come.
            keys = [key for key in dict.fromkeys([*sweep.keys, *(lost.key for lost in sweep.lost)]) if key in here]
            # A single run that failed has a record, too, but no parent.
            found.append(Group(sweep.name, keys, sweep if len(sweep.asked) > 1 else None, contained))
    found.append(Group(rules.content(".", "config")["question"], [key for key in here if key not in of_sweeps]))
    return [group for group in found if group.keys]


def find_unsent(store: RunStore, tracker: Tracker, group: Group) -> list[UnreadableRun]:
    """Ask the tracking store what it has of a group. Runs that cannot be read leave the group, and are returned."""
    group.ids = tracker.confirmed({key: store.published(key, tracker.address.name) for key in group.keys})
    if group.sweep:
        run = tracker.parent(group.question, group.sweep.id)
        group.ended = run is not None and run.info.status in (FINISHED, FAILED)
    group.unsent = [key for key in group.keys if group.ids.get(key, {}).get("status") != store.status(key)]
    if not group.unsent and group.ended:
        return []
    unreadable: dict[str, UnreadableRun] = {}
    for key in group.keys:
        try:
            store.record(key)
        except UnreadableRun as error:
            unreadable[key] = error
    group.keys = [key for key in group.keys if key not in unreadable]
    group.unsent = [key for key in group.unsent if key not in unreadable]
    return list(unreadable.values())


def send(store: RunStore, tracker: Tracker, group: Group, sent: Callable[[int], None]) -> None:
    """Send the runs that the store lacks, what its parent run says of the sweep, and the network of the best run.

    `sent` is told how many runs were taken. Raises TrackingUnavailable at the first that was not.
    """
    sweep, parent = group.sweep, None
    if sweep and group.keys and (group.unsent or not group.ended):
        parent = tracker.begin(_parent(store, group, sweep))
    called = names(store.record(key).job for key in group.keys) if sweep and group.unsent else {}
    for start in range(0, len(group.unsent), AT_ONCE):
        runs = [_read(store, key) for key in group.unsent[start : start + AT_ONCE]]
        taken, error = tracker.publish_all(runs, group.question, parent, called)
        group.ids |= taken
        for key, ids in taken.items():
            store.note_published(key, ids)
        sent(len(taken))
        if error:
            raise error
    if sweep and parent:
        _end(store, tracker, group, sweep, parent)
    if sweep and sweep.winner:
        models.send_winner(store, tracker, sweep.winner, group.ids)


def _read(store: RunStore, key: str) -> result.RunResult:
    """The run with its predictions, if they are whole."""
    with suppress(UnreadableRun):
        return store.read(key)
    return store.record(key)


def _parent(store: RunStore, group: Group, sweep: Sweep) -> ParentRun:
    """The parent run, as the sweep's own command would have created it."""
    results = [store.record(key) for key in group.keys]
    note = {NOTE: sweep.note} if sweep.note else {}
    count = len({*group.keys, *(lost.key for lost in sweep.lost)})
    return ParentRun(
        experiment=group.question,
        name=title([run.job for run in results]),
        tags=sweep.tags | {"runs": str(count)} | origin_tags(results[-1].environment) | note,
        sweep_id=sweep.id,
        start=min(span(run)[0] for run in results),
        contains=group.contains,
    )


def _end(store: RunStore, tracker: Tracker, group: Group, sweep: Sweep, parent: str) -> None:
    """The best run, what was lost and not trained since, and the end."""
    missing = [lost for lost in sweep.lost if store.status(lost.key) != result.FINISHED]
    tags, runs = lost_tags(missing), [store.record(key) for key in group.keys]
    ended = max(span(run)[1] for run in runs)
    if sweep.winner in group.keys and sweep.winner in group.ids:
        best = store.record(sweep.winner)
        tags |= {"winner": names(run.job for run in runs)[best.job], "winner.run_id": group.ids[best.key]["run_id"]}
        step = sum(run.finished for run in runs)  # as `Publisher.publish_best` has it
        tracker.add(parent, [Point(name, value, step, ended) for name, value in of_best(best, runs).items()])
    tracker.set_tags(parent, tags)
    unfinished = any(lost.status != result.DIVERGED for lost in missing)
    status = FINISHED if not unfinished else FAILED if sweep.status == ENDED else KILLED
    tracker.end(parent, status, ended)
