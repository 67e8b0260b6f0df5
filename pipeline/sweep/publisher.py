"""Hands results to tracking beside the training, so that no run waits for a database. Results are on disk before."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from pipeline.cli.errors import without_logins
from pipeline.storage.store import RunStore
from pipeline.tracking import Tracker, TrackingUnavailable
from pipeline.tracking.describe import Point
from pipeline.tracking.models import send_model as send_model
from pipeline.training.result import Result

WRITE_SECONDS = 5.0
"""Between two writes of what is training; a run that takes less is written once, when it ends."""
ELSEWHERE = "runs.of_other_sweeps"
"""A sweep's tag with the ids of those of its runs that another sweep trained first, and that stand under that one."""
RETRY_SECONDS = 5.0
"""Between two tries of what the store did not take."""


class Publisher:
    """One thread that publishes, in order. What the store does not take waits, and is tried again while runs train."""

    def __init__(
        self, tracker: Tracker, store: RunStore, question: str, datasets: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self.tracker, self.store, self.question, self.datasets = tracker, store, question, datasets
        """`datasets`: what is told of each data set, by its name."""
        self.parent: str | None = None
        """The run that stands for this sweep."""
        self.under: str | None = None
        """The run that new ones are put under: the parent, or that of a larger sweep."""
        self.deleted: set[str] = set()
        """Keys of runs that a person deleted in the store."""
        self.trouble: str | None = None
        """Why what waits was not taken the last time; None where nothing waits."""
        self.handed: set[str] = set()
        """Keys of the results that were handed over."""
        self.stopped: KeyboardInterrupt | None = None
        """The signal that came while `close` waited, to be raised when all else is done."""
        self._tried = 0.0
        self._elsewhere: list[str] = []
        self._live: dict[str, str] = {}
        """Ids of the runs that are RUNNING, by key."""
        self._since: dict[str, float] = {}
        """When a run was first heard of, by key."""
        self._points: dict[str, tuple[Result, list[Point]]] = {}
        """What was heard of runs that are training since the last write, by key."""
        self._written = -WRITE_SECONDS
        self._writing = False
        """Whether a write waits: a store that hangs gets no queue of them."""
        self._ended = threading.Event()
        self._waiting: deque[tuple[Callable[[], None], bool]] = deque()
        self._queue: queue.SimpleQueue[tuple[Callable[[], None], bool] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="publisher", daemon=True)
        self._thread.start()

    def begin(
        self,
        name: str,
        tags: Mapping[str, str],
        sweep_id: str,
        grown: Sequence[str] = (),
        within: Sequence[str] = (),
        restore: bool = False,
    ) -> None:
        """The parent run of a sweep; runs published later become its children.

        `grown` are ids of sweeps that this one contains, and whose parent run it takes over; `within` of those that contain
        it, under whose parent run its own stand already. `restore`: also a parent run that a person deleted.
        """

        def task() -> None:
            for larger in within:
                if parent := self.tracker.parent(self.question, larger):
                    self.under = parent
                    return
            begun = self.tracker.begin(self.question, name, tags, sweep_id, grown=grown, restore=restore)
            self.parent = self.under = begun or None

        self._queue.put((task, False))

    def hear(self, run: Result, epoch: int = 0, metrics: Mapping[str, float] | None = None) -> None:
        """An epoch of a run that is training, or, without one, its start; `run` has no numbers.

        It is RUNNING in the store from its start, where that is told, or when it has gone on for a while.
        """
        now = time.monotonic()
        since = self._since.setdefault(run.key, now if epoch else now - WRITE_SECONDS)
        points = self._points.setdefault(run.key, (run, []))[1]
        at = int(time.time() * 1000)
        points += [Point(name, value, epoch, at) for name, value in (metrics or {}).items() if math.isfinite(value)]
        if now - since >= WRITE_SECONDS and now - self._written >= WRITE_SECONDS and not self._writing:
            self._written, self._writing = now, True
            due = [key for key in self._points if now - self._since[key] >= WRITE_SECONDS]
            heard = [self._points.pop(key) for key in due]
            self._queue.put((partial(self._write, heard), False))

    def _write(self, heard: Sequence[tuple[Result, list[Point]]]) -> None:
        """What was heard of runs that are training. The whole run comes with its result, so what is not taken is let go."""
        self._writing = False
        with suppress(TrackingUnavailable):
            for run, points in heard if self.trouble is None else ():
                if run.key not in self._live:
                    dataset = self.datasets.get(run.job.dataset.name)
                    self._live[run.key] = self.tracker.start(run, self.question, self.under, dataset)
                if points and self._live[run.key]:
                    self.tracker.add(self._live[run.key], points)

    def publish(self, result: Result) -> None:
        def task() -> None:
            dataset = self.datasets.get(result.job.dataset.name)
            ids = self.tracker.publish(result, self.question, self.under, dataset)
            self._live.pop(result.key, None)
            if not ids:
                self.deleted.add(result.key)
                return
            known = self.store.published(result.key, ids.get("store"))
            kept = {"model": known["model"]} if known.get("model") == ids["run_id"] else {}
            self.store.note_published(result.key, {**ids, **kept})
            if self.parent and ids.get("parent_run_id", self.parent) != self.parent:
                self._elsewhere.append(ids["run_id"])

        self._points.pop(result.key, None)
        self._queue.put((task, True))
        self.handed.add(result.key)

    def call(self, task: Callable[[], None]) -> None:
        """Run `task` after everything handed over so far."""
        self._queue.put((task, False))

    def close(self, status: str) -> str | None:
        """Wait until everything is published, and end the parent run with `status`; what is missing, in a sentence.

        A run that is RUNNING still was not trained to the end, and is KILLED.

        A signal does not cut that off, and is kept in `stopped`; the second one ends the process at once.
        """

        left = dict(self._points)

        def task() -> None:
            self._write([heard for key, heard in left.items() if key in self._live])
            for run_id in filter(None, self._live.values()):
                self.tracker.end(run_id, "KILLED")
            self._live.clear()
            if self.parent:
                if self._elsewhere:
                    self.tracker.set_tags(self.parent, {ELSEWHERE: " ".join(self._elsewhere)})
                self.tracker.end(self.parent, status)

        self._queue.put((task, False))
        self._queue.put(None)
        try:
            self._ended.wait()
        except KeyboardInterrupt as stopped:
            self.stopped = stopped
            self._ended.wait()
        self._thread.join()
        if self.trouble is None:
            return None
        unpublished = sum(is_result for _, is_result in self._waiting)
        what = f"{unpublished} of the results" if unpublished else "what is said of the sweep as a whole"
        return (
            f"not in MLflow yet: {what} ({self.trouble}). "
            f"They are in {self.store.root} and are published when the same command is run again."
        )

    def _work(self) -> None:
        try:
            self._until_closed()
        finally:
            self._ended.set()

    def _until_closed(self) -> None:
        while True:
            try:
                queued = self._queue.get(timeout=RETRY_SECONDS if self._waiting else None)
            except queue.Empty:
                self._send()
                continue
            if queued is None:
                break
            self._waiting.append(queued)
            if self.trouble is None or time.monotonic() - self._tried >= RETRY_SECONDS:
                self._send()
        # Once more, but for a store that was tried just now: one that hangs holds up each try for a minute.
        if self._waiting and time.monotonic() - self._tried >= RETRY_SECONDS:
            self._send()

    def _send(self) -> None:
        """All that waits, up to the first that is not taken."""
        while self._waiting:
            try:
                self._waiting[0][0]()
            except TrackingUnavailable as error:
                self.trouble = str(error)
            except Exception as error:
                self.trouble = without_logins(f"{type(error).__name__}: {error}")
            else:
                self._waiting.popleft()
                self.trouble = None
                continue
            self._tried = time.monotonic()
            return
