"""Synchronize an MLflow store with a folder of runs: missing runs are sent, sweep by sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from pipeline.config import rules
from pipeline.config.names import names
from pipeline.storage.record import UnreadableRun
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import ENDED, SWEEP, Ledger, Sweep, lost_tags, related, title
from pipeline.tracking import models, process
from pipeline.tracking.describe import NOTE, Point, of_best, origin_tags, span
from pipeline.tracking.runs import FAILED, FINISHED, KILLED, RUNNING, origin
from pipeline.tracking.tracker import ParentRun, Tracker
from pipeline.training import result

AT_ONCE = 64
"""Runs per batch; after each, progress is reported and other processes may write to the store."""


@dataclass
class Group:
    """The runs of a sweep, or the runs without a sweep, and their state in the store."""

    question: str
    keys: list[str]
    sweep: Sweep | None = None
    contains: list[str] = field(default_factory=list)
    """Ids of the sweeps that are part of this one and share its parent run."""
    tags: dict[str, str] = field(default_factory=dict)
    """Tags that the user gave the runs; of a single run also its note."""
    ids: dict[str, dict[str, str]] = field(default_factory=dict)
    """Ids of the runs in the store, by key."""
    unsent: list[str] = field(default_factory=list)
    """Keys of the runs to send."""
    complete: bool = True
    """Whether its parent run, if it has one, is FINISHED or FAILED."""
    running: bool = False
    """Whether a command on this machine is at work on the sweep, and sends the runs itself."""


def groups(store: RunStore) -> list[Group]:
    """Return the sweeps, oldest first, and last the runs without a sweep."""
    here = dict.fromkeys(store.keys())
    # The folder of a single sweep, possibly copied from elsewhere, contains its record.
    sweeps = [Sweep.read(store.root)] if (store.root / SWEEP).is_file() else [*reversed(list(Ledger(store)))]
    found: list[Group] = []
    of_sweeps: set[str] = set()
    for sweep in sweeps:
        contained, larger = related(sweeps, sweep.name, sweep.asked)
        if sweep.id and not larger:
            of_sweeps |= sweep.asked
            # Runs that a killed command did not note are still pending in its record.
            keys = [key for key in dict.fromkeys([*sweep.keys, *(lost.key for lost in sweep.lost)]) if key in here]
            # A single run that failed, or has tags or a note, has a record too, but no parent.
            single = len(sweep.asked) < 2
            tags = sweep.tags | ({NOTE: sweep.note} if single and sweep.note else {})
            found.append(Group(sweep.name, keys, None if single else sweep, contained, tags))
    found.append(Group(rules.content(".", "config")["question"], [key for key in here if key not in of_sweeps]))
    return [group for group in found if group.keys]


def find_unsent(store: RunStore, tracker: Tracker, group: Group) -> list[UnreadableRun]:
    """Find the runs of a group that the tracking store lacks: none if the sweep is `running`.

    Unreadable runs are removed from the group and returned.
    """
    if group.sweep:
        run = tracker.parent(group.question, group.sweep.id)
        group.complete = run is not None and run.info.status in (FINISHED, FAILED)
        group.running = run is not None and run.info.status == RUNNING and process.alive(run.data.tags)
    if group.running:
        group.keys = []
        return []
    group.ids = tracker.confirmed({key: store.published(key, tracker.address.name) for key in group.keys})
    group.unsent = [key for key in group.keys if group.ids.get(key, {}).get("status") != store.status(key)]
    if not group.unsent and group.complete:
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


def send(store: RunStore, tracker: Tracker, group: Group, sent: Callable[[Iterable[str]], None]) -> None:
    """Send the unsent runs, the values of the parent run, and the network of the best run.

    `sent` is called with the keys of recorded runs. Raises TrackingUnavailable at the first failure.
    """
    sweep, parent = group.sweep, None
    tracker.origin = group.tags | origin()
    if sweep and group.keys and (group.unsent or not group.complete):
        parent = tracker.begin(_parent(store, group, sweep))
    called = names(store.record(key).job for key in group.keys) if sweep and group.unsent else {}
    for start in range(0, len(group.unsent), AT_ONCE):
        runs = [_read(store, key) for key in group.unsent[start : start + AT_ONCE]]
        taken, error = tracker.publish_all(runs, group.question, parent, called)
        group.ids |= taken
        for key, ids in taken.items():
            store.note_published(key, ids)
        sent(taken)
        if error:
            raise error
    if sweep and parent:
        _end(store, tracker, group, sweep, parent)
    if sweep and sweep.winner:
        models.send_winner(store, tracker, sweep.winner, group.ids)


def _read(store: RunStore, key: str) -> result.RunResult:
    """Return the run, with its predictions if they are readable."""
    with suppress(UnreadableRun):
        return store.read(key)
    return store.record(key)


def _parent(store: RunStore, group: Group, sweep: Sweep) -> ParentRun:
    """Return the parent run as the sweep's own command would have created it."""
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
    """End the parent run, with its best run and the lost runs that were not trained since."""
    missing = [lost for lost in sweep.lost if store.status(lost.key) != result.FINISHED]
    tags, runs = lost_tags(missing), [store.record(key) for key in group.keys]
    ended = max(span(run)[1] for run in runs)
    if sweep.winner in group.keys and sweep.winner in group.ids:
        best = store.record(sweep.winner)
        tags |= {"winner": names(run.job for run in runs)[best.job], "winner.run_id": group.ids[best.key]["run_id"]}
        step = sum(run.finished for run in runs)  # as in `Publisher.publish_best`
        tracker.add(parent, [Point(name, value, step, ended) for name, value in of_best(best, runs).items()])
    tracker.set_tags(parent, tags)
    unfinished = any(lost.status != result.DIVERGED for lost in missing)
    status = FINISHED if not unfinished else FAILED if sweep.status == ENDED else KILLED
    tracker.end(parent, status, ended)
