"""Send the runs in runs/ to an MLflow store that has not got them yet, with the sweeps that they belong to.

    python -m pipeline.publish                           what the store of conf/ and MLFLOW_TRACKING_URI has not yet
    python -m pipeline.publish to=http://HOST:PORT       to another store: a server, or sqlite:////absolute/path.db
    python -m pipeline.publish from=results/sweep        the runs of one sweep's folder, which may come from elsewhere

What is there already is left as it is, so the command may be stopped and given again. What a person deleted there comes back. A
password belongs in MLFLOW_TRACKING_URI rather than in the command, which every user of the machine can see.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline.cli import console
from pipeline.cli.errors import RunsLost, UserError, shown_line
from pipeline.cli.formatting import duration, plural
from pipeline.config import rules
from pipeline.config.schema import Config
from pipeline.data.arrays import load
from pipeline.models import devices
from pipeline.storage.locks import locked
from pipeline.storage.record import DamagedRun, OtherRelease, UnreadableRun
from pipeline.storage.store import AGAIN, RunStore
from pipeline.storage.sweep import (
    ENDED,
    SWEEP,
    Ledger,
    Lost,
    Sweep,
    related,
    title,
    told_lost,
    told_of,
    without_commands,
)
from pipeline.sweep.publisher import RETRY_SECONDS, send_model
from pipeline.tracking import NONE, SERVER, SQLITE, Tracker, TrackingUnavailable, many, open_tracker
from pipeline.tracking.address import home, resolve
from pipeline.tracking.describe import span
from pipeline.training.result import FINISHED, Result

DEFAULTS = {"to": "", "from": "runs", "data": "data/processed"}

AT_ONCE = 64
"""Runs between two lines of progress, and between two moments at which another process may write to the store."""

PATIENCE = 120.0
"""Seconds without any run taken after which a store is given up, until the command is given again."""


@dataclass
class Share:
    """A sweep, or the runs that belong to none: what there is of it, and what the store has."""

    question: str
    keys: list[str]
    sweep: Sweep | None = None
    grown: list[str] = field(default_factory=list)
    """Ids of the sweeps that are part of this one, and share its parent run."""
    there: many.There = field(default_factory=many.There)
    todo: list[str] = field(default_factory=list)
    trouble: bool = False
    """Whether the store failed in the middle, and may have more than it said."""

    @property
    def id(self) -> str | None:
        return self.sweep.id if self.sweep else None


def main(argv: Sequence[str]) -> int:
    values = console.words(argv, DEFAULTS, __doc__ or "")
    folder = home() / values["from"]
    if not folder.is_dir():
        raise UserError(f"from={values['from']}: no such folder of runs")
    publish(RunStore(folder), target(values["to"]), console.PROJECT / values["data"])
    return 0


def target(to: str) -> Tracker:
    """The store at the address `to`; without one, that of conf/ and MLFLOW_TRACKING_URI."""
    if to:
        kind = SQLITE if to.startswith("sqlite") else SERVER
        environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
        return open_tracker(kind, to, environment=environment)
    defaults = yaml.safe_load((rules.CONF / "config.yaml").read_text(encoding="utf-8"))["defaults"]
    [name] = [entry["tracking"] for entry in defaults if isinstance(entry, dict) and "tracking" in entry]
    settings = yaml.safe_load((rules.CONF / "tracking" / f"{name}.yaml").read_text(encoding="utf-8"))
    if settings["kind"] == NONE:
        raise UserError("conf/config.yaml has tracking: none; say where to with to=ADDRESS")
    return open_tracker(settings["kind"], settings["uri"])


def publish(store: RunStore, tracker: Tracker, data: Path) -> None:
    """Raises TrackingUnavailable where the store did not take all in the end, RunsLost where a run could not be read."""
    began = time.monotonic()
    where = tracker.shown_uri
    with _alone(store):
        shares = [share for share in _shares(store) if share.keys]
        damaged = _look(store, tracker, shares)
        runs, todo = sum(len(share.keys) for share in shares), sum(len(share.todo) for share in shares)
        sweeps = [share for share in shares if share.sweep]
        single = runs - sum(len(share.keys) for share in sweeps)
        print(
            f"{plural(runs, 'run')} ({plural(len(sweeps), 'sweep')}, {plural(single, 'single run')}): {runs - todo} at {where} already, "
            f"{todo or 'none'} to send",
            flush=True,
        )
        with _Progress(todo) as progress:
            for share in shares:
                _send(store, tracker, share, data, progress)
    if todo:
        print(f"sent {todo} runs in {duration(time.monotonic() - began)}; {runs - todo} were there already")
        told = f"MLFLOW_TRACKING_URI={where} " if tracker.address != resolve(SQLITE, None) else ""
        print(f"tables, figures and the note on each sweep's page: {told}python -m pipeline.compare")
    if damaged:
        raise RunsLost(f"{len(damaged)} runs could not be read and were not sent, each named above")


def _shares(store: RunStore) -> Iterator[Share]:
    """The sweeps, the first one first, and at the end what belongs to none."""
    here = dict.fromkeys(store.keys())
    of_sweeps: set[str] = set()
    sweeps = _sweeps(store)
    for sweep in sweeps:
        grown, within = related(sweeps, sweep.name, sweep.asked)
        if sweep.id and not within:
            of_sweeps |= sweep.asked
            # What a killed command had not noted any more, its record has among what was still to come.
            keys = [key for key in dict.fromkeys([*sweep.keys, *(lost.key for lost in sweep.lost)]) if key in here]
            # A single run that failed has a record too, and no parent.
            yield Share(sweep.name, keys, sweep if len(sweep.asked) > 1 else None, grown)
    yield Share(Config.question, [key for key in here if key not in of_sweeps])


def _sweeps(store: RunStore) -> list[Sweep]:
    """The sweeps of a store, the first one first; of the folder of a single one (results/sweep), which may be another's, that."""
    if not (store.root / SWEEP).is_file():
        return list(reversed(list(Ledger(store))))
    sweep = Sweep.read(store.root)
    sweep.lost = without_commands(sweep.lost)
    return [sweep]


def _look(store: RunStore, tracker: Tracker, shares: list[Share]) -> dict[str, str]:
    """Ask the store what it has of each share; what is said of those that are damaged, by key.

    Neither they nor runs of another release are sent.
    """
    unreadable: dict[str, UnreadableRun] = {}
    for share in shares:
        noted = {key: store.published(key, tracker.address.name) for key in share.keys}
        share.there = many.look(tracker, share.question, share.id, noted)
        # The others may be in the experiment of their own question, or under the parent of another sweep.
        others = {key: ids for key, ids in noted.items() if ids and key not in share.there.ids}
        share.there.ids |= many.confirmed(tracker, others)
        share.todo = [key for key in share.keys if share.there.status(key) != store.status(key)]
        if share.todo or (share.sweep and not share.there.ended):
            # What is sent, or told of on the parent's page, is read and checked.
            unreadable |= {key: error for key in share.keys if (error := _unreadable(store, key))}
        share.keys = [key for key in share.keys if key not in unreadable]
        share.todo = [key for key in share.todo if key not in unreadable]
    left_out = [str(error) for error in unreadable.values() if isinstance(error, OtherRelease)]
    if left_out:
        print(f"{plural(len(left_out), 'run')} of another release of this project left out: {shown_line(left_out[0])}")
    damaged = {key: str(error) for key, error in unreadable.items() if not isinstance(error, OtherRelease)}
    for key in sorted(damaged):
        print(f"warning: {shown_line(damaged[key])}", file=sys.stderr)
    listed = {ids["run_id"] for share in shares for ids in share.there.ids.values()}
    for share in shares:
        name = tracker.address.name
        there = [key for key in share.keys if key not in share.todo]
        _note(store, share, [key for key in there if store.published(key, name).get("run_id") not in listed])
    return damaged


def _unreadable(store: RunStore, key: str) -> UnreadableRun | None:
    """Why the record of a run cannot be read; None where it can."""
    try:
        store.record(key)
    except UnreadableRun as error:
        return error
    except (OSError, ValueError) as error:
        return DamagedRun(f"{store.folder(key)}: damaged ({error}); {AGAIN}")
    return None


def _note(store: RunStore, share: Share, keys: list[str]) -> None:
    """Keep beside the runs which ids the store gave them."""
    for key in keys:
        ids = share.there.ids[key]
        known = store.published(key, ids["store"])
        kept = {"model": known["model"]} if known.get("model") == ids["run_id"] else {}
        store.note_published(key, {**ids, **kept})


def _send(store: RunStore, tracker: Tracker, share: Share, data: Path, progress: _Progress) -> None:
    """Send what is to be sent of a share, and say on its parent run what it was."""
    if not share.todo and (share.there.ended or not share.sweep or not share.keys):
        _patiently(progress, partial(_model, store, tracker, share, data))
        return
    if share.sweep is not None:
        _patiently(progress, partial(_begin, store, tracker, share))
    for start in range(0, len(share.todo), AT_ONCE):
        waiting = [store.record(key) for key in share.todo[start : start + AT_ONCE]]
        _patiently(progress, partial(_some, store, tracker, share, waiting, data, progress))
    _patiently(progress, partial(_end, store, tracker, share))
    _patiently(progress, partial(_model, store, tracker, share, data))


def _some(
    store: RunStore, tracker: Tracker, share: Share, waiting: list[Result], data: Path, progress: _Progress
) -> None:
    """Send those that wait; what is taken waits no more."""
    for name in {one.job.dataset.name for one in waiting}:
        some = [one for one in waiting if one.job.dataset.name == name]
        error = many.send(tracker, some, share.question, share.there, _described(some, data))
        taken = [one for one in some if share.there.status(one.key) == one.status]
        waiting[:] = [one for one in waiting if one not in taken]
        _note(store, share, [one.key for one in taken])
        progress.sent(len(taken))
        if error:
            share.trouble = True
            raise error


def _patiently(progress: _Progress, attempt: Callable[[], None]) -> None:
    """Until the store takes it; it is given up after so long without any run taken."""
    while True:
        try:
            attempt()
        except TrackingUnavailable as error:
            if time.monotonic() - progress.last >= PATIENCE:
                left = f"{progress.left} of {progress.total} runs" if progress.left else "what is said of a sweep"
                raise TrackingUnavailable(
                    f"not in MLflow yet: {left} ({error}); the same command does the rest"
                ) from error
            time.sleep(RETRY_SECONDS)
        else:
            return


def _begin(store: RunStore, tracker: Tracker, share: Share) -> None:
    """The parent run, as the sweep's own command would have made it."""
    assert share.sweep is not None
    results = [store.record(key) for key in share.keys]
    lost = {one.key for one in share.sweep.lost}
    told = {"runs": str(len({*share.keys, *lost}))} | told_of(results[-1].environment if results else {})
    start = min(span(one)[0] for one in results)
    jobs = [one.job for one in results]
    share.there.parent = tracker.begin(share.question, title(jobs), told, share.id, start, share.grown)


def _end(store: RunStore, tracker: Tracker, share: Share) -> None:
    """The winner, what was lost, and the end; one run of each key, should another machine have sent them too."""
    if share.sweep is None:
        if share.trouble:
            many.single(tracker, share.question, None, certainly=True)
        return
    sweep, parent = share.sweep, share.there.parent
    assert parent is not None
    missing = still_lost(store, sweep)
    tracker.set_tags(parent, told_lost(missing))
    ids = share.there.ids.get(sweep.winner or "")
    if ids and sweep.winner in share.keys:
        name = store.record(sweep.winner or "").name
        tracker.set_tags(parent, {"winner": name, "winner.run_id": ids["run_id"]})
    unfinished = [one for one in missing if one.status != "diverged"]
    status = "FINISHED" if not unfinished else "FAILED" if sweep.status == ENDED else "KILLED"
    last = max(span(store.record(key))[1] for key in share.keys)
    tracker.end(parent, status, last)
    if many.single(tracker, share.question, sweep.id, certainly=share.trouble):
        share.there = many.look(tracker, share.question, sweep.id)
        _note(store, share, [key for key in share.keys if key in share.there.ids])


def _model(store: RunStore, tracker: Tracker, share: Share, data: Path) -> None:
    """The network of the sweep's winner, where its weights are kept and the store has it not."""
    ids = share.there.ids.get(share.sweep.winner or "") if share.sweep else None
    if not ids or share.sweep is None or share.sweep.winner is None:
        return
    if store.published(share.sweep.winner, ids["store"]).get("model") == ids["run_id"]:
        return
    result = None
    with suppress(KeyError, UnreadableRun):
        result = store.read(share.sweep.winner)
    if result is None or result.weights is None:
        return
    images = np.zeros((1, len(next(iter(result.weights.values())))), "float32")
    with suppress(UserError):
        arrays = load(data / result.job.dataset.name)
        images = np.asarray(arrays.test_images[:5]) if arrays.digest == result.identity["data"] else images
    precision = result.identity["numerics"]["precision"]
    devices.start(devices.choose("cpu", "tensorflow", "float32", True, "engine", 1, 0))
    send_model(tracker, store, result, ids, images, "float32" if precision == "tensorfloat32" else precision)
    print(f"and the model of {result.name}", flush=True)


def still_lost(store: RunStore, sweep: Sweep) -> list[Lost]:
    """What the record of a sweep has as lost and has not been trained since."""
    return [one for one in sweep.lost if store.status(one.key) != FINISHED] if sweep.lost else []


def _described(results: list[Result], data: Path) -> dict[str, Any]:
    """The data set of `results`, which is one, with its shape where it is here."""
    name, digest = results[0].job.dataset.name, results[0].identity["data"]
    try:
        arrays = load(data / name)
    except UserError:
        return {"name": name, "digest": digest}
    shape = {"shape": list(arrays.train_images.shape)} if arrays.digest == digest else {}
    return {"name": name, "digest": digest, **shape}


@contextmanager
def _alone(store: RunStore) -> Iterator[None]:
    """One command at a time sends the runs of a folder; the second waits, and finds everything there."""
    with locked(store.root.parent if (store.root / SWEEP).is_file() else Ledger(store).folder):
        yield


class _Progress:
    """A bar on a terminal, a line for every so many runs elsewhere."""

    def __init__(self, total: int) -> None:
        self.total, self.left = total, total
        self.started = self.last = time.monotonic()
        self.bar: Any = None

    def __enter__(self) -> _Progress:
        if sys.stdout.isatty() and self.total:
            from rich import progress

            columns = (progress.TextColumn("{task.fields[now]}"), progress.BarColumn(bar_width=24))
            self.bar = progress.Progress(*columns, transient=True)
            self.bar.start()
            self.task = self.bar.add_task("", total=self.total, now=f"0/{self.total} runs")
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def sent(self, runs: int) -> None:
        if not runs:
            return
        self.left -= runs
        self.last = time.monotonic()
        done = self.total - self.left
        now = f"{done}/{self.total} runs"
        if self.left:
            now += f", {duration((self.last - self.started) * self.left / done)} left"
        if self.bar is not None:
            self.bar.update(self.task, completed=done, now=now)
        else:
            print(f"[{now}]", flush=True)


if __name__ == "__main__":
    console.run(main)
