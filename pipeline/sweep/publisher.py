"""Publishes results in a thread of its own, so that no run waits for a database. Results are on disk before."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from pipeline.cli.errors import redact_credentials
from pipeline.models import devices
from pipeline.storage.store import RunStore
from pipeline.sweep.plan import PlannedRun
from pipeline.sweep.pool import on_this_machine
from pipeline.tracking import ParentRun, Tracker, TrackingUnavailable
from pipeline.tracking.describe import Point, of_best
from pipeline.tracking.models import send_model
from pipeline.training.result import RunResult

RETRY_SECONDS = 5.0
"""Seconds between attempts after a failure."""
WRITE_SECONDS = 5.0
"""Seconds between updates of running runs."""
ELSEWHERE = "runs.of_other_sweeps"
"""A tag of the sweep with the ids of its runs whose parent is an earlier sweep."""


@dataclass
class _Training:
    """A running run and its points that are not yet written."""

    run: PlannedRun
    begun: datetime = field(default_factory=lambda: datetime.now(UTC))
    points: list[Point] = field(default_factory=list)


class Publisher:
    """Runs its tasks in order in a thread of its own. A task that fails is tried again later."""

    def __init__(self, tracker: Tracker, store: RunStore, question: str) -> None:
        self.tracker, self.store, self.question = tracker, store, question
        self.parent: str | None = None
        """The parent run of this sweep in MLflow."""
        self.under: str | None = None
        """The parent of new runs: that of this sweep, or of a larger one."""
        self.deleted: set[str] = set()
        """Keys of runs that a user deleted in MLflow."""
        self.handed: set[str] = set()
        """Keys of all results to publish."""
        self.sent: set[str] = set()
        """Keys of the published results."""
        self.stopped: KeyboardInterrupt | None = None
        """The signal that arrived during `close`, to be raised at the end."""
        self._elsewhere: list[str] = []
        self._live: dict[str, str] = {}
        """Ids of the runs that are RUNNING in the store, by key."""
        self._training: dict[str, _Training] = {}
        self._written = -WRITE_SECONDS
        self._writing = False
        """Whether an update is queued; a store that hangs gets no second one."""
        self._trouble: str | None = None
        """Why the first waiting task failed; None if none waits."""
        self._tried = 0.0
        self._tasks: deque[Callable[[], None]] = deque()
        self._closing, self._changed, self._ended = False, threading.Event(), threading.Event()
        threading.Thread(target=self._work, name="publisher", daemon=True).start()

    def _work(self) -> None:
        try:
            while not self._closing:
                self._changed.wait(RETRY_SECONDS if self._trouble else None)
                self._changed.clear()
                self._send()
            self._send()
            self._send()
        finally:
            self._ended.set()

    def _send(self) -> None:
        """Run the waiting tasks up to the first failure. Do nothing shortly after a failure."""
        if self._trouble and time.monotonic() - self._tried < RETRY_SECONDS:
            return  # a store that hangs holds up each try for a minute
        while self._tasks:
            try:
                self._tasks[0]()
            except Exception as error:
                known = isinstance(error, TrackingUnavailable)
                self._trouble = str(error) if known else redact_credentials(f"{type(error).__name__}: {error}")
                self._tried = time.monotonic()
                return
            self._tasks.popleft()
            self._trouble = None

    def _put(self, task: Callable[[], None]) -> None:
        self._tasks.append(task)
        self._changed.set()

    def begin(self, parent: ParentRun, larger: Sequence[str] = ()) -> None:
        """Start the parent run of a sweep; runs published later become its children.

        `larger` are ids of sweeps that contain this one: if one of them has a parent run, that is taken instead.
        """

        def task() -> None:
            for other in larger:
                if found := self.tracker.parent(self.question, other):
                    self.under = found.info.run_id
                    return
            self.parent = self.under = self.tracker.begin(parent) or None

        self._put(task)

    def show(self, run: PlannedRun, epoch: int = 0, metrics: Mapping[str, float] | None = None) -> None:
        """Show the start or an epoch of a run, which is RUNNING in MLflow from the next update on."""
        now, at = time.monotonic(), int(time.time() * 1000)
        training = self._training.setdefault(run.key, _Training(run))
        finite = {name: value for name, value in (metrics or {}).items() if math.isfinite(value)}
        training.points += [Point(name, value, epoch, at) for name, value in finite.items()]
        if now - self._written < WRITE_SECONDS or self._writing:
            return
        self._written, self._writing = now, True
        due = list(self._training.values())
        self._training |= {other.run.key: replace(other, points=[]) for other in due}
        self._put(lambda: self._write(due))

    def _write(self, due: Sequence[_Training]) -> None:
        """Write points of running runs. Failures are ignored, since the result has all points."""
        self._writing = False
        with suppress(TrackingUnavailable):
            for training in due if self._trouble is None else ():
                run = training.run
                if run.key not in self._live:
                    begun = run.begun(training.begun)
                    self._live[run.key] = self.tracker.start(begun, self.question, self.under, run.name)
                if training.points and self._live[run.key]:
                    self.tracker.add(self._live[run.key], training.points)

    def measure(self, sample: Mapping[str, float]) -> None:
        """Add a sample of system metrics to the parent run. Its step is the time, since a later command may add more."""
        at = int(time.time() * 1000)

        def task() -> None:
            if self.parent:
                self.tracker.add(self.parent, [Point(name, value, at, at) for name, value in sample.items()])

        self._put(task)

    def publish(self, result: RunResult, name: str) -> None:
        """Record a run under its name in the plan."""

        def task() -> None:
            ids = self.tracker.publish(result, self.question, self.under, name=name)
            self._live.pop(result.key, None)
            if ids:
                self.store.note_published(result.key, ids)
                if self.parent and ids.get("parent_run_id", self.parent) != self.parent:
                    self._elsewhere.append(ids["run_id"])
            else:
                self.deleted.add(result.key)
            self.sent.add(result.key)

        self._training.pop(result.key, None)
        self.handed.add(result.key)
        self._put(task)

    def publish_best(self, run: PlannedRun, result: RunResult, results: Sequence[RunResult]) -> None:
        """Record the best run of `results` on the parent run and save its network, unless a user deleted it."""

        def task() -> None:
            published = self.store.published(result.key, self.tracker.address.name)
            run_id = published.get("run_id")
            if not run_id or result.key in self.deleted:
                return
            if self.parent:
                self.tracker.set_tags(self.parent, {"winner": run.name, "winner.run_id": run_id})
                # A sweep that has grown has other metrics: its runs are the step, and the last one is shown.
                step = sum(each.finished for each in results)
                self.tracker.log_metrics(self.parent, of_best(result, results), step)
            if published.get("model") != run_id:
                # Saving a network needs no GPU, and the one it was trained on may be another machine's.
                cpu = replace(run.device, kind="cpu", precision="float32")
                devices.start(run.device if on_this_machine(run.device) else cpu)
                send_model(self.tracker, self.store, result, published, run.arrays, run.device.dtype)

        self._put(task)

    def describe(self, tags: Mapping[str, str], files: Mapping[str, Path]) -> None:
        """Add tags and files to the parent run."""

        def task() -> None:
            if self.parent:
                self.tracker.set_tags(self.parent, tags)
                self.tracker.add_files(self.parent, files)

        self._put(task)

    def close(self, status: str, tags: Mapping[str, str] | None = None) -> str | None:
        """Publish everything and end the parent run with `status` and `tags`. Return a sentence on what is missing, or None.

        A run that is still RUNNING was not trained to the end, and is KILLED. A signal does not cut this off, and is kept
        in `stopped`; the second one ends the process at once.
        """
        left = list(self._training.values())

        def task() -> None:
            self._write([training for training in left if training.run.key in self._live])
            for run_id in filter(None, self._live.values()):
                self.tracker.end(run_id, "KILLED")
            self._live.clear()
            if self.parent:
                elsewhere = {ELSEWHERE: " ".join(self._elsewhere)} if self._elsewhere else {}
                if all_tags := {**(tags or {}), **elsewhere}:
                    self.tracker.set_tags(self.parent, all_tags)
                self.tracker.end(self.parent, status)

        self._put(task)
        self._closing = True
        self._changed.set()
        try:
            self._ended.wait()
        except KeyboardInterrupt as stopped:
            self.stopped = stopped
            self._ended.wait()
        if self._trouble is None:
            return None
        unsent = len(self.handed - self.sent)
        what = f"{unsent} of the results" if unsent else "what is said of the sweep as a whole"
        return (
            f"not in MLflow yet: {what} ({self._trouble}). "
            f"They are in {self.store.root} and are published when the same command is run again."
        )
