"""The publisher works in order and in its own thread, and retries after failures."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.signals import Stopped, stopping
from pipeline.storage.store import RunStore
from pipeline.sweep.plan import PlannedRun
from pipeline.sweep.publisher import Publisher
from pipeline.tracking import ParentRun, TrackingUnavailable
from pipeline.training.result import RunResult
from tests.support.factory import make_job
from tests.unit.data import tiny
from tests.unit.training.trainer import device


class Tracker:
    """Records its calls. A call whose last argument is `fails_at` raises `error`, at most `times` times."""

    def __init__(self, fails_at: str = "", error: Exception | None = None, times: int = 1000) -> None:
        self.calls: list[Any] = []
        self.threads: set[str] = set()
        self.fails_at, self.error, self.times = fails_at, error, times
        self.failures = 0

    def note(self, *call: Any) -> None:
        self.threads.add(threading.current_thread().name)
        if self.error and str(call[-1]) == self.fails_at and self.failures < self.times:
            self.failures += 1
            raise self.error
        self.calls.append(call)

    def begin(self, parent: ParentRun) -> str:
        self.note("begin", parent.experiment, parent.name)
        return "parent"

    def publish(self, result: RunResult, question: str, parent: str | None, name: str | None) -> dict[str, str]:
        self.note("publish", parent, result.key)
        return {"run_id": f"id of {result.key}"}

    def end(self, run: str, status: str) -> None:
        self.note("end", run, status)


KEYS = [f"{seed:064x}" for seed in range(3)]
RESULTS = [RunResult(key=key, job=make_job(seed=seed), status="finished") for seed, key in enumerate(KEYS)]
RUNS = [PlannedRun(result.job, device(), tiny.arrays(), result.key, {}, []) for result in RESULTS]


class Swept:
    """A sweep of three runs, published with the given tracker."""

    def __init__(self, tracker: Tracker, root: Path) -> None:
        self.store = RunStore(root)
        publisher = Publisher(tracker, self.store, "question")  # type: ignore[arg-type]
        publisher.begin(ParentRun("question", "a sweep", {}))
        for result in RESULTS:
            self.store.folder(result.key).mkdir()
            publisher.publish(result, result.name)
        self.missing = publisher.close("FINISHED")

    @property
    def published(self) -> list[dict[str, str]]:
        return [self.store.published(result.key) for result in RESULTS]


Sweeping = Callable[[Tracker], Swept]


@pytest.fixture
def swept(tmp_path: Path) -> Sweeping:
    return lambda tracker: Swept(tracker, tmp_path)


WHOLE = [
    ("begin", "question", "a sweep"),
    *(("publish", "parent", key) for key in KEYS),
    ("end", "parent", "FINISHED"),
]


def test_everything_is_published_in_order_in_a_thread_of_its_own(swept: Sweeping) -> None:
    tracker = Tracker()
    done = swept(tracker)
    assert done.missing is None
    assert tracker.calls == WHOLE
    assert tracker.threads == {"publisher"}
    assert done.published == [{"run_id": f"id of {key}"} for key in KEYS], "the ids are noted with the runs"


@pytest.mark.parametrize("error", [TrackingUnavailable("the server is away"), RuntimeError("a bug")])
def test_trouble_is_handed_back_and_stops_nothing(swept: Sweeping, error: Exception) -> None:
    done = swept(Tracker(KEYS[1], error))
    assert done.missing is not None
    assert done.missing.startswith("not in MLflow yet: 2 of the results (")
    assert str(error) in done.missing
    assert done.missing.endswith("are published when the same command is run again.")
    assert [bool(ids) for ids in done.published] == [True, False, False]


@pytest.mark.parametrize("fails_at", ["a sweep", KEYS[1], KEYS[2], "FINISHED"])
def test_a_store_that_comes_back_gets_everything_once_and_in_order(
    swept: Sweeping, monkeypatch: pytest.MonkeyPatch, fails_at: str
) -> None:
    monkeypatch.setattr("pipeline.sweep.publisher.RETRY_SECONDS", 0.0)
    tracker = Tracker(fails_at, TrackingUnavailable("away"), times=1)
    assert swept(tracker).missing is None
    assert tracker.calls == WHOLE


def test_a_store_that_was_asked_just_now_is_not_asked_again_at_the_end(swept: Sweeping) -> None:
    """Each attempt takes a minute if the store hangs."""
    tracker = Tracker("a sweep", TrackingUnavailable("hangs"))
    swept(tracker)
    assert tracker.failures == 1


def test_a_signal_while_the_rest_is_published_cuts_nothing_off(tmp_path: Path) -> None:
    tracker, store = Tracker(), RunStore(tmp_path)
    publisher = Publisher(tracker, store, "question")  # type: ignore[arg-type]
    store.folder(KEYS[0]).mkdir()

    def begin(*_: Any, **__: Any) -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.2)
        return "parent"

    tracker.begin = begin  # type: ignore[method-assign]
    with stopping(signal.SIGTERM):
        publisher.begin(ParentRun("question", "a sweep", {}))
        publisher.publish(RESULTS[0], "sgd")
        assert publisher.close("FINISHED") is None
    assert isinstance(publisher.stopped, Stopped)
    assert tracker.calls == [("publish", "parent", KEYS[0]), WHOLE[-1]]


def test_a_store_that_hangs_gets_one_write_of_what_trains_and_no_queue_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.sweep.publisher.WRITE_SECONDS", 0.0)
    released = threading.Event()

    class Hanging(Tracker):
        def start(self, run: RunResult, *_: Any) -> str:
            self.note("start", run.key)
            released.wait(10)
            raise TrackingUnavailable("hangs")

    tracker = Hanging()
    publisher = Publisher(tracker, RunStore(tmp_path), "question")  # type: ignore[arg-type]
    publisher.show(RUNS[0])
    while not tracker.calls:
        time.sleep(0.01)
    for epoch in range(1, 100):
        publisher.show(RUNS[0], epoch, {"train/loss": 1.0})
    released.set()
    publisher.close("KILLED")
    assert len(tracker.calls) <= 2


def test_a_run_in_the_making_is_written_at_most_every_few_seconds(tmp_path: Path) -> None:
    points: list[Any] = []

    class Shown(Tracker):
        def start(self, run: RunResult, *_: Any) -> str:
            return "id"

        def add(self, run_id: str, heard: Any) -> None:
            points.append([(point.name, point.step) for point in heard])

    tracker = Shown()
    publisher = Publisher(tracker, RunStore(tmp_path), "question")  # type: ignore[arg-type]
    publisher.show(RUNS[0])
    for epoch in (1, 2, 3):
        publisher.show(RUNS[0], epoch, {"train/loss": 1.0, "val/loss": float("nan")})
    publisher.show(RUNS[1], 1, {"train/loss": 1.0})
    publisher.close("KILLED")
    assert points == [[("train/loss", epoch) for epoch in (1, 2, 3)]]
    assert tracker.calls == [("end", "id", "KILLED")]
