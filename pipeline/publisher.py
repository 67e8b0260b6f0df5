"""Hands results to tracking beside the training, so that no run waits for a database. Results are on disk before."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pipeline.errors import without_logins
from pipeline.models import dense
from pipeline.results.result import Result
from pipeline.results.store import RunStore
from pipeline.tracking import Tracker, TrackingUnavailable
from pipeline.tracking.apart import Gone, Recorder

RETRY_SECONDS = 5.0
"""Between two tries of what the store did not take."""


def send_model(
    tracker: Tracker, store: RunStore, result: Result, ids: Mapping[str, str], images: np.ndarray, dtype: str
) -> None:
    """Save the network of `result`, which has its weights, under its run of these ids; Keras has been started.

    `images`, (n, inputs), become its signature; `dtype` is the Keras dtype policy that it was trained with.
    """
    weights = result.weights or {}
    shapes = [array.shape for array in weights.values()]
    network = dense.build(result.job.model, shapes[0][0], shapes[-1][-1], dtype)
    dense.set_weights(network, weights)
    tracker.log_model(ids["run_id"], network, images)
    store.note_published(result.key, {**ids, "model": ids["run_id"]})


def _recorder(tracker: Tracker) -> Recorder | None:
    try:
        return Recorder(tracker)
    except OSError:  # no process to be had: this one records then
        return None


class Publisher:
    """One thread that publishes, in order. What the store does not take waits, and is tried again while runs train.

    `apart`: runs are recorded by a second process. What is said of the sweep as a whole, and models, are not.
    """

    def __init__(
        self,
        tracker: Tracker,
        store: RunStore,
        question: str,
        datasets: Mapping[str, Mapping[str, Any]],
        apart: bool = False,
    ) -> None:
        self.tracker, self.store, self.question, self.datasets = tracker, store, question, datasets
        """`datasets`: what is told of each data set, by its name."""
        self.parent: str | None = None
        self.trouble: str | None = None
        """Why what waits was not taken the last time; None where nothing waits."""
        self.handed: set[str] = set()
        """Keys of the results that were handed over."""
        self.stopped: KeyboardInterrupt | None = None
        """The signal that came while `close` waited, to be raised when all else is done."""
        self._recorder = _recorder(tracker) if apart else None
        self._tried = 0.0
        self._ended = threading.Event()
        self._waiting: deque[tuple[Callable[[], None], bool]] = deque()
        self._queue: queue.SimpleQueue[tuple[Callable[[], None], bool] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="publisher", daemon=True)
        self._thread.start()

    def begin(self, name: str, tags: Mapping[str, str], sweep_id: str) -> None:
        """The parent run of a sweep; runs published later become its children."""

        def task() -> None:
            self.parent = self.tracker.begin(self.question, name, tags, sweep_id) or None

        self._queue.put((task, False))

    def publish(self, result: Result) -> None:
        def task() -> None:
            dataset = self.datasets.get(result.job.dataset.name)
            ids = self._record(result, dataset)
            if ids:
                known = self.store.published(result.key, ids.get("store"))
                kept = {"model": known["model"]} if known.get("model") == ids["run_id"] else {}
                self.store.note_published(result.key, {**ids, **kept})

        self._queue.put((task, True))
        self.handed.add(result.key)

    def _record(self, result: Result, dataset: Mapping[str, Any] | None) -> dict[str, str]:
        if self._recorder is not None:
            try:
                return self._recorder.publish(result, self.question, self.parent, dataset)
            except Gone:
                # Killed, or short of memory. The tracker of this process finds what that one recorded, and goes on.
                self._recorder.close()
                self._recorder = None
        return self.tracker.publish(result, self.question, self.parent, dataset)

    def call(self, task: Callable[[], None]) -> None:
        """Run `task` after everything handed over so far."""
        self._queue.put((task, False))

    def close(self, status: str) -> str | None:
        """Wait until everything is published, and end the parent run with `status`; what is missing, in a sentence.

        A signal does not cut that off, and is kept in `stopped`; the second one ends the process at once.
        """

        def task() -> None:
            if self.parent:
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
            if self._recorder is not None:  # or this process would wait for that one for ever
                self._recorder.close()
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
