"""Hands results to tracking beside the training, so that no run waits for a database. Results are on disk before."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.errors import without_logins
from pipeline.results.result import Result
from pipeline.results.store import RunStore
from pipeline.tracking import Tracker, TrackingUnavailable


class Publisher:
    """One thread that publishes. After the first failure it says so once and leaves the rest to another time."""

    def __init__(self, tracker: Tracker, store: RunStore, question: str, dataset: dict[str, Any]) -> None:
        self.tracker, self.store, self.question, self.dataset = tracker, store, question, dataset
        self.parent: str | None = None
        self.unpublished = 0
        self.trouble: str | None = None
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
            ids = self.tracker.publish(result, self.question, self.parent, self.dataset)
            if ids:
                known = self.store.published(result.key)
                kept = {"model": known["model"]} if known.get("model") == ids["run_id"] else {}
                self.store.note_published(result.key, {**ids, **kept})

        self._queue.put((task, True))

    def call(self, task: Callable[[], None]) -> None:
        """Run `task` after everything handed over so far."""
        self._queue.put((task, False))

    def close(self, status: str) -> None:
        """Wait until everything is published, and end the parent run with `status`."""

        def task() -> None:
            if self.parent:
                self.tracker.end(self.parent, status)

        self._queue.put((task, False))
        self._queue.put(None)
        self._thread.join()
        if self.trouble:
            what = f"{self.unpublished} of the results" if self.unpublished else "what is said of the sweep as a whole"
            print(
                f"warning: not in MLflow yet: {what} ({self.trouble}). "
                f"They are in {self.store.root} and are published when the same command is run again.",
                file=sys.stderr,
            )

    def _work(self) -> None:
        while (queued := self._queue.get()) is not None:
            task, is_result = queued
            if self.trouble is None:
                try:
                    task()
                    continue
                except TrackingUnavailable as error:
                    self.trouble = str(error)
                except Exception as error:
                    self.trouble = without_logins(f"{type(error).__name__}: {error}")
            self.unpublished += is_result
