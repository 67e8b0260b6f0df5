"""Runs recorded by a second process: of what MLflow costs, nothing is left beside the training.

MLflow and SQLAlchemy take 30 to 40 ms of Python for a run, under the lock that the training threads and Hydra's books
need too: a third to a half of all that a short run costs. The second process has a tracker of its own for the same store;
the locks between processes are those of any two.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing import get_context, parent_process, resource_tracker
from typing import TYPE_CHECKING, Any

from pipeline.tracking.address import Address
from pipeline.tracking.tracker import Tracker

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from pipeline.training.result import Result

FROM = 50
"""Runs from which a second process is worth its start: 4 s of imports, on another core, and 250 MB."""


class Gone(Exception):
    """The second process ended, killed or never started; whether it recorded what it was given is not known."""


class Recorder:
    """`Tracker.publish` in a process of its own, which ends with this one, however that ends. Raises OSError for no process."""

    def __init__(self, tracker: Tracker) -> None:
        # Not forked: TensorFlow's threads would not come along, and what they hold would stay held.
        context = get_context("spawn")
        self._here, there = context.Pipe()
        own = (there, tracker.address, tracker.origin, gc.get_threshold())
        self._process = context.Process(target=_serve, args=own, name="recorder")
        # It is born with these signals held back, and leaves them so: one to the whole group is for the command, which ends
        # this process once it has recorded what it handed over. (Python's own helper lets them through when it starts.)
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            there.close()

    def publish(
        self, result: Result, experiment: str, parent: str | None, dataset: Mapping[str, Any] | None
    ) -> dict[str, str]:
        """As `Tracker.publish`, with what that raises; raises Gone where the process is. By one thread at a time."""
        try:
            self._here.send((result, experiment, parent, dataset))
            answer: dict[str, str] | Exception = self._here.recv()
        except (EOFError, OSError) as error:
            raise Gone from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self._here.close()
        self._process.join()


def _serve(there: Connection, address: Address, origin: Mapping[str, str], collect_after: tuple[int, int, int]) -> None:
    """Record what comes, until the other end is closed."""
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()
    gc.set_threshold(*collect_after)
    tracker = Tracker(address, origin)
    tracker.warm().join()
    joined: set[str] = set()
    with suppress(EOFError, OSError):
        while True:
            result, experiment, parent, dataset = there.recv()
            answer: dict[str, str] | Exception
            try:
                if parent and parent not in joined:
                    tracker.join(experiment, parent)
                    joined.add(parent)
                answer = tracker.publish(result, experiment, parent, dataset)
            except Exception as error:
                answer = error
            there.send(answer)


def _end_with_parent() -> None:
    """A process that is recording, or waits for a lock, would outlive a command that is killed."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
