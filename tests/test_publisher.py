"""Publishing beside the training: in order, out of the way, and silent about its own trouble but once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.publisher import Publisher
from pipeline.results.result import Result
from pipeline.results.store import RunStore
from pipeline.tracking import TrackingUnavailable
from tests.training.factory import make_job


class Tracker:
    """Notes what it is asked for; fails from the call that the test names."""

    def __init__(self, fails_at: str = "", error: Exception | None = None) -> None:
        self.calls: list[Any] = []
        self.threads: set[str] = set()
        self.fails_at, self.error = fails_at, error

    def note(self, *call: Any) -> None:
        self.threads.add(threading.current_thread().name)
        if self.error and str(call[-1]) == self.fails_at:
            raise self.error
        self.calls.append(call)

    def begin(self, question: str, name: str, tags: Any, sweep_id: str) -> str:
        self.note("begin", question, name)
        return "parent"

    def publish(self, result: Result, question: str, parent: str | None, dataset: Any) -> dict[str, str]:
        self.note("publish", parent, result.key)
        return {"run_id": f"id of {result.key}"}

    def end(self, run: str, status: str) -> None:
        self.note("end", run, status)


KEYS = [f"{seed:064x}" for seed in range(3)]
RESULTS = [Result(key=key, job=make_job(seed=seed), status="finished") for seed, key in enumerate(KEYS)]


@pytest.fixture
def published(tmp_path: Path) -> Callable[[Tracker], RunStore]:
    """Publishes a sweep of three with a tracker."""

    def publish(tracker: Tracker) -> RunStore:
        store = RunStore(tmp_path)
        publisher = Publisher(tracker, store, "question", {})  # type: ignore[arg-type]
        publisher.begin("a sweep", {}, "sweep id")
        for result in RESULTS:
            store.folder(result.key).mkdir()
            publisher.publish(result)
        publisher.call(lambda: tracker.note("called"))
        publisher.close("FINISHED")
        return store

    return publish


def test_everything_is_published_in_order(published: Callable[[Tracker], RunStore]) -> None:
    tracker = Tracker()
    published(tracker)
    runs = [("publish", "parent", key) for key in KEYS]
    assert tracker.calls == [("begin", "question", "a sweep"), *runs, ("called",), ("end", "parent", "FINISHED")]


def test_it_happens_beside_the_training(published: Callable[[Tracker], RunStore]) -> None:
    tracker = Tracker()
    published(tracker)
    assert tracker.threads == {"publisher"}


def test_the_ids_are_noted_with_the_runs(published: Callable[[Tracker], RunStore]) -> None:
    store = published(Tracker())
    assert [store.published(result.key) for result in RESULTS] == [{"run_id": f"id of {key}"} for key in KEYS]


def test_without_a_parent_there_is_none_to_end(tmp_path: Path) -> None:
    tracker = Tracker()
    publisher = Publisher(tracker, RunStore(tmp_path), "question", {})  # type: ignore[arg-type]
    publisher.close("FINISHED")
    assert tracker.calls == []


@pytest.mark.parametrize("error", [TrackingUnavailable("the server is away"), RuntimeError("a bug")])
def test_trouble_is_said_once_and_stops_nothing(
    published: Callable[[Tracker], RunStore], capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    store = published(Tracker(KEYS[1], error))
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: not in MLflow yet: ")
    assert str(error) in line
    assert line.endswith("are published when the same command is run again.")
    assert [bool(store.published(result.key)) for result in RESULTS] == [True, False, False]


def test_without_trouble_nothing_is_said(
    published: Callable[[Tracker], RunStore], capsys: pytest.CaptureFixture[str]
) -> None:
    published(Tracker())
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("fails_at", "missing"), [("a sweep", 3), (KEYS[1], 2), (KEYS[2], 1)])
def test_the_results_that_are_missing_are_counted(
    published: Callable[[Tracker], RunStore], capsys: pytest.CaptureFixture[str], fails_at: str, missing: int
) -> None:
    published(Tracker(fails_at, TrackingUnavailable("away")))
    assert f"not in MLflow yet: {missing} of the results" in capsys.readouterr().err
