"""Bring an MLflow store up to date with a folder of runs: what it lacks is sent, sweep by sweep."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.cli.errors import UserError
from pipeline.cli.formatting import duration
from pipeline.config import rules
from pipeline.data.arrays import load
from pipeline.storage.locks import locked
from pipeline.storage.record import UnreadableRun
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import ENDED, SWEEP, Ledger, Lost, Sweep, lost_tags, related, title
from pipeline.tracking.database import TrackingUnavailable
from pipeline.tracking.describe import origin_tags, span
from pipeline.tracking.runs import FAILED, FINISHED, KILLED
from pipeline.tracking.sweeps import ParentRun
from pipeline.tracking.tracker import Tracker
from pipeline.training import result
from pipeline.training.result import RunResult

AT_ONCE = 64
"""Runs between two lines of progress, and between two moments at which another process may write to the store."""
RETRY_SECONDS = 5.0
"""Between two attempts, when the store is away."""
PATIENCE = 120.0
"""Seconds without any run taken after which the command gives up."""


@dataclass
class Group:
    """The runs of a sweep, or those that belong to none, and what the store has of them."""

    question: str
    keys: list[str]
    sweep: Sweep | None = None
    contains: list[str] = field(default_factory=list)
    """Ids of the sweeps that are part of this one, and share its parent run."""
    parent: str | None = None
    ended: bool = False
    """Whether the parent run has ended."""
    ids: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of the runs that the store has, by key."""
    unsent: list[str] = field(default_factory=list)
    """Keys of the runs to send."""
    interrupted: bool = False
    """Whether the store failed in the middle, and may have more than it said."""

    @property
    def winner(self) -> str:
        """Key of the sweep's best run; empty if there is none."""
        return (self.sweep.winner if self.sweep else None) or ""

    def has(self, run: RunResult) -> bool:
        """Whether the store has the run as it ended."""
        return self.ids.get(run.key, {}).get("status") == run.status


class Progress:
    """Counts the runs that were sent, with a line for every so many."""

    def __init__(self, total: int) -> None:
        self.total, self.left = total, total
        self.started = self.last = time.monotonic()

    def sent(self, runs: int) -> None:
        if not runs:
            return
        self.left -= runs
        self.last = time.monotonic()
        done = self.total - self.left
        left = f", {duration((self.last - self.started) * self.left / done)} left" if self.left else ""
        print(f"[{done}/{self.total} runs{left}]", flush=True)

    def persist(self, attempt: Callable[[], None]) -> None:
        """Repeat an attempt until the store takes it. Raises TrackingUnavailable when no run was taken for too long."""
        while True:
            try:
                return attempt()
            except TrackingUnavailable as error:
                if time.monotonic() - self.last >= PATIENCE:
                    left = f"{self.left} of {self.total} runs" if self.left else "what is said of a sweep"
                    message = f"not in MLflow yet: {left} ({error}); the same command does the rest"
                    raise TrackingUnavailable(message) from error
                time.sleep(RETRY_SECONDS)


@contextmanager
def exclusive(store: RunStore) -> Iterator[None]:
    """One command at a time sends the runs of a folder; the second waits, and finds everything there."""
    with locked(store.root.parent if (store.root / SWEEP).is_file() else Ledger(store).folder):
        yield


def groups(store: RunStore) -> list[Group]:
    """The sweeps, first one first, and at the end the runs that belong to none."""
    here = dict.fromkeys(store.keys())
    sweeps = _sweeps(store)
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


def _sweeps(store: RunStore) -> list[Sweep]:
    """The sweeps of a store, first one first; for the folder of one sweep, which may come from elsewhere, that one."""
    if not (store.root / SWEEP).is_file():
        return list(reversed(list(Ledger(store))))
    return [Sweep.read(store.root)]


def find_unsent(store: RunStore, tracker: Tracker, group: Group) -> list[UnreadableRun]:
    """Ask the tracking store what it has of a group. Runs that cannot be read leave the group, and are returned."""
    noted = {key: store.published(key, tracker.address.name) for key in group.keys}
    group.ids = tracker.confirmed(noted)
    if group.sweep:
        run = tracker.parent_run(group.question, group.sweep.id)
        group.ended = run is not None and run.info.status in (FINISHED, FAILED)
    group.unsent = [key for key in group.keys if group.ids.get(key, {}).get("status") != store.status(key)]
    if not group.unsent and (group.ended or not group.sweep):
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


def send(store: RunStore, tracker: Tracker, group: Group, data: Path, progress: Progress) -> None:
    """Send the runs that the tracking store lacks, and what its parent run says of the sweep."""
    if group.sweep and group.keys and (group.unsent or not group.ended):
        progress.persist(partial(_begin_parent, store, tracker, group))
    for start in range(0, len(group.unsent), AT_ONCE):
        waiting = [store.record(key) for key in group.unsent[start : start + AT_ONCE]]
        progress.persist(partial(_send_batch, store, tracker, group, waiting, data, progress))
    if group.parent or group.interrupted:
        progress.persist(partial(_end, store, tracker, group))


def _begin_parent(store: RunStore, tracker: Tracker, group: Group) -> None:
    """The parent run, as the sweep's own command would have created it."""
    assert group.sweep is not None
    results = [store.record(key) for key in group.keys]
    count = len({*group.keys, *(lost.key for lost in group.sweep.lost)})
    parent = ParentRun(
        experiment=group.question,
        name=title([run.job for run in results]),
        tags={"runs": str(count)} | origin_tags(results[-1].environment),
        sweep_id=group.sweep.id,
        start=min(span(run)[0] for run in results),
        contains=group.contains,
    )
    group.parent = tracker.begin(parent)


def _send_batch(
    store: RunStore, tracker: Tracker, group: Group, waiting: list[RunResult], data: Path, progress: Progress
) -> None:
    """Send those that wait. What is taken waits no more, and its ids are kept beside the run."""
    for name in sorted({run.job.dataset.name for run in waiting}):
        batch = [run for run in waiting if run.job.dataset.name == name]
        try:
            _publish(store, tracker, group, batch, _dataset(batch[0], data))
        finally:
            taken = [run for run in batch if group.has(run)]
            waiting[:] = [run for run in waiting if run not in taken]
            progress.sent(len(taken))


def _publish(
    store: RunStore, tracker: Tracker, group: Group, runs: list[RunResult], dataset: dict[str, Any] | None
) -> None:
    """Publish runs and keep their ids beside them."""
    taken, error = tracker.publish_all(runs, group.question, group.parent, dataset)
    group.ids |= taken
    for key, ids in taken.items():
        store.note_published(key, ids)
    if error:
        group.interrupted = True
        raise error


def _dataset(run: RunResult, data: Path) -> dict[str, Any]:
    """What `describe.dataset` is told of a run's data set: its shape, if it is here."""
    try:
        arrays = load(data / run.job.dataset.name)
    except UserError:
        return {}
    return {"shape": list(arrays.train_images.shape)} if arrays.digest == run.identity["data"] else {}


def _end(store: RunStore, tracker: Tracker, group: Group) -> None:
    """The winner, what was lost and the end; one run of each key, if another machine sent them too."""
    sweep, parent = group.sweep, group.parent
    if sweep is None or parent is None:
        tracker.remove_duplicates(group.question, None, always=True)
        return
    missing = _still_lost(store, sweep)
    tracker.set_tags(parent, lost_tags(missing))
    if group.winner in group.keys and group.winner in group.ids:
        winner = {"winner": store.record(group.winner).name, "winner.run_id": group.ids[group.winner]["run_id"]}
        tracker.set_tags(parent, winner)
    unfinished = any(lost.status != result.DIVERGED for lost in missing)
    status = FINISHED if not unfinished else FAILED if sweep.status == ENDED else KILLED
    tracker.end(parent, status, max(span(store.record(key))[1] for key in group.keys))
    if tracker.remove_duplicates(group.question, sweep.id, always=group.interrupted):
        # Those that were kept may be the other machine's: their ids are noted instead.
        for start in range(0, len(group.keys), AT_ONCE):
            _publish(store, tracker, group, [store.record(key) for key in group.keys[start : start + AT_ONCE]], None)


def _still_lost(store: RunStore, sweep: Sweep) -> Sequence[Lost]:
    """What the record of a sweep has as lost and has not been trained since."""
    return [lost for lost in sweep.lost if store.status(lost.key) != result.FINISHED]
