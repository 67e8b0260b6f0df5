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
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import TYPE_CHECKING, Any

from pipeline.tracking.address import Address
from pipeline.tracking.tracker import Tracker

if TYPE_CHECKING:
    from pipeline.results.result import Result

FROM = 50
"""Runs from which a second process is worth its start: 4 s of imports, on another core, and 250 MB."""

Gone = BrokenProcessPool
"""What `Recorder.publish` raises where its process is gone: killed, or never started."""

_tracker: Tracker | None = None
_joined: set[str] = set()
"""Of the second process: its tracker, and the parents whose runs it has looked up."""


class Recorder:
    """`Tracker.publish` in a process of its own, which ends with this one, however that ends."""

    def __init__(self, tracker: Tracker) -> None:
        # Not forked: TensorFlow's threads would not come along, and what they hold would stay held.
        self._pool = ProcessPoolExecutor(
            1, get_context("spawn"), _start, (tracker.address, tracker.origin, gc.get_threshold())
        )
        self._pool.submit(_warm)

    def publish(
        self, result: Result, experiment: str, parent: str | None, dataset: Mapping[str, Any] | None
    ) -> dict[str, str]:
        """As `Tracker.publish`, with what it raises; raises Gone where the process is, and whether it recorded is not known."""
        return self._pool.submit(_publish, result, experiment, parent, dataset).result()

    def close(self) -> None:
        self._pool.shutdown()


def _start(address: Address, origin: Mapping[str, str], collect_after: tuple[int, int, int]) -> None:
    global _tracker
    gc.set_threshold(*collect_after)
    # A signal to the whole group is for the command, which ends this process once it has recorded what it handed over.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()
    _tracker = Tracker(address, origin)


def _end_with_parent() -> None:
    """A pool's process that has nothing to do would wait for ever for a killed one's next word."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _warm() -> None:
    assert _tracker is not None
    _tracker.warm().join()


def _publish(result: Result, experiment: str, parent: str | None, dataset: Mapping[str, Any] | None) -> dict[str, str]:
    assert _tracker is not None
    if parent and parent not in _joined:
        _tracker.join(experiment, parent)
        _joined.add(parent)
    return _tracker.publish(result, experiment, parent, dataset)
