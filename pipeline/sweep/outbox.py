"""One thread that sends what it is handed, in order. What the other side does not take waits, and is tried again."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable

from pipeline.cli.errors import without_logins
from pipeline.tracking import TrackingUnavailable

RETRY_SECONDS = 5.0
"""Between two tries of what was not taken."""


class Outbox:
    """Calls tasks in a thread of its own, each until it raises nothing; later ones wait for it."""

    def __init__(self) -> None:
        self.trouble: str | None = None
        """Why the first task that waits was not taken; None if nothing waits."""
        self._tried = 0.0
        self._ended = threading.Event()
        self._waiting: deque[tuple[Callable[[], None], bool]] = deque()
        self._queue: queue.SimpleQueue[tuple[Callable[[], None], bool] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="publisher", daemon=True)
        self._thread.start()

    def put(self, task: Callable[[], None], counted: bool = False) -> None:
        """Call `task` after everything that was handed over so far. `unsent` counts those that are to be `counted`."""
        self._queue.put((task, counted))

    @property
    def unsent(self) -> int:
        return sum(counted for _, counted in self._waiting)

    def close(self) -> KeyboardInterrupt | None:
        """Wait until everything is sent, or was tried once more; returns the signal that came meanwhile.

        A signal does not cut this off; the second one ends the process at once.
        """
        self._queue.put(None)
        signalled = None
        try:
            # Not `join`: where a signal interrupts it, it takes the thread for ended.
            self._ended.wait()
        except KeyboardInterrupt as stopped:
            signalled = stopped
            self._ended.wait()
        self._thread.join()
        return signalled

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
            if self.trouble is None or self._is_due():
                self._send()
        # Once more, unless it was tried just now: a store that hangs holds up each try for a minute.
        if self._waiting and self._is_due():
            self._send()

    def _is_due(self) -> bool:
        return time.monotonic() - self._tried >= RETRY_SECONDS

    def _send(self) -> None:
        """All that waits, up to the first that is not taken."""
        while self._waiting:
            task, _ = self._waiting[0]
            try:
                task()
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
