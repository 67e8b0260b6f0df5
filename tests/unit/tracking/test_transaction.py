"""A run recorded in SQLite: in one transaction, with the rows that MLflow's own transactions leave."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from pipeline.tracking import Tracker, TrackingUnavailable, tracker
from pipeline.tracking.transaction import one_transaction
from tests.unit.tracking.factory import make_result

Fresh = Callable[[], Tracker]

CONTENT = """SELECT runs.name, status, start_time, end_time, runs.lifecycle_stage,
    (SELECT group_concat(x) FROM (SELECT key || value || step || timestamp || is_nan x FROM metrics
        WHERE run_uuid = runs.run_uuid ORDER BY x)),
    (SELECT group_concat(x) FROM (SELECT key || value || step || timestamp || is_nan x FROM latest_metrics
        WHERE run_uuid = runs.run_uuid ORDER BY x)),
    (SELECT group_concat(x) FROM (SELECT key || value x FROM params WHERE run_uuid = runs.run_uuid ORDER BY x)),
    (SELECT group_concat(x) FROM (SELECT key || value x FROM tags WHERE run_uuid = runs.run_uuid ORDER BY x)),
    (SELECT group_concat(datasets.digest || datasets.dataset_profile || input_tags.value) FROM inputs
        JOIN datasets ON dataset_uuid = source_id JOIN input_tags USING (input_uuid)
        WHERE destination_id = runs.run_uuid)
    FROM runs ORDER BY runs.name, start_time"""


def content(database: Path) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(database)
    try:
        return connection.execute(CONTENT).fetchall()
    finally:
        connection.close()


def publish_all(tracker: Tracker) -> None:
    for seed in range(3):
        tracker.publish(make_result(seed), "e")
    tracker.publish(make_result(7, status="diverged", history={"train/loss": [1.0, float("nan")]}, figures={}), "e")


def test_the_rows_are_those_of_mlflows_own_transactions(
    fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_all(fresh())
    ours = content(tmp_path / "mlflow.db")
    monkeypatch.setattr(tracker, "one_transaction", lambda client: nullcontext())
    publish_all(fresh())  # a store as it was at first
    theirs = content(tmp_path / "mlflow.db")
    assert len(ours) == 4
    assert all(None not in row for row in ours)
    assert ours == theirs


def test_a_run_is_one_transaction(fresh: Fresh) -> None:
    ours = fresh()
    ours.publish(make_result(0), "e")  # makes the experiment too
    before = int.from_bytes(ours._changes() or b"")
    ours.publish(make_result(1), "e")
    assert int.from_bytes(ours._changes() or b"") - before == 1


def test_what_breaks_off_leaves_nothing(fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = fresh()

    def broken(*_: Any) -> None:
        raise OSError("broke off")

    with monkeypatch.context() as patch:
        patch.setattr(ours._ready(), "set_terminated", broken)
        with pytest.raises(TrackingUnavailable, match="broke off"):
            ours.publish(make_result(), "e")
    assert content(tmp_path / "mlflow.db") == []
    ours.publish(make_result(), "e")
    assert len(content(tmp_path / "mlflow.db")) == 1


def test_another_thread_has_a_session_of_its_own(fresh: Fresh) -> None:
    client = fresh()._ready()
    store = client._tracking_client.store
    sessions: list[Any] = []

    def look() -> None:
        with store.ManagedSessionMaker() as session:
            sessions.append(session)

    with one_transaction(client):
        look()
        look()
        other = threading.Thread(target=look)
        other.start()
        other.join()
    look()
    assert sessions[0] is sessions[1]
    assert len(set(map(id, sessions))) == 3


def test_a_client_without_sessions_records_as_ever() -> None:
    with one_transaction(object()):  # type: ignore[arg-type]
        pass
