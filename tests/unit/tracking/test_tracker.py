"""Publishing runs and sweeps: repeated, interrupted, and from several processes."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.errors import UserError
from pipeline.tracking import ParentRun, Tracker, TrackingUnavailable, open_tracker, process
from tests.support.factory import make_result, tracked_job

Fresh = Callable[[], Tracker]
GONE = {process.TAG: json.dumps({"host": process.host(), "pid": 999_999_999, "started": 1.0})}


def client(tracker: Tracker) -> Any:
    return tracker.connection.client


def runs(tracker: Tracker, query: str = "") -> list[Any]:
    mlflow = client(tracker)
    return list(mlflow.search_runs([each.experiment_id for each in mlflow.search_experiments()], query))


@pytest.mark.fault("overlapping sweeps")
def test_a_single_run_becomes_part_of_the_sweep_that_asks_for_it(fresh: Fresh) -> None:
    ids = fresh().publish(make_result(), "e")
    parent = fresh().begin(ParentRun("e", "sweep", {}, "s"))
    assert fresh().publish(make_result(), "e", parent) == ids | {"parent_run_id": parent}
    assert fresh().publish(make_result(), "e") == ids | {"parent_run_id": parent}
    assert client(fresh()).get_parent_run(ids["run_id"]).info.run_id == parent


@pytest.mark.fault("deleted in MLflow")
def test_runs_of_a_deleted_parent_come_under_the_next_one(fresh: Fresh) -> None:
    parent = fresh().begin(ParentRun("e", "sweep", {}, "small"))
    ids = fresh().publish(make_result(), "e", parent)
    client(fresh()).delete_run(parent)
    tracker = fresh()
    assert tracker.begin(ParentRun("e", "sweep", {}, "small", restore=False)) == ""
    larger = tracker.begin(ParentRun("e", "sweep", {}, "large", contains=["small"], restore=False))
    assert larger not in ("", parent)
    assert tracker.publish(make_result(), "e", larger) == ids | {"parent_run_id": larger}


@pytest.mark.fault("deleted in MLflow")
def test_a_run_trained_again_after_it_was_deleted_is_a_new_one(fresh: Fresh) -> None:
    ids = fresh().publish(make_result(), "e")
    client(fresh()).delete_run(ids["run_id"])
    again = fresh().publish(make_result(started="2026-02-04T04:05:06+00:00"), "e")
    assert [run.info.run_id for run in runs(fresh())] == [again["run_id"]] != [ids["run_id"]]


@pytest.mark.fault("asynchronous logging")
@pytest.mark.parametrize("variable", ["MLFLOW_ENABLE_ASYNC_LOGGING", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"])
def test_variables_that_hide_what_became_of_a_write_are_overruled(
    fresh: Fresh, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    from pipeline.tracking import connection as module

    monkeypatch.setenv(variable, "true" if "ASYNC" in variable else "7")
    client(fresh())
    assert os.environ[variable] == module.REQUIRED[variable]


@pytest.mark.parametrize("call", ["get_artifact_repository", "log_batch", "log_inputs", "set_terminated"])
def test_what_broke_off_is_completed(fresh: Fresh, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    from mlflow.store.artifact import artifact_repository_registry

    tracker = fresh()
    parent = tracker.begin(ParentRun("e", "sweep", {}, "s"))
    with monkeypatch.context() as patch:

        def broken(*arguments: Any, **more: Any) -> None:
            raise OSError("disk full")

        patch.setattr(artifact_repository_registry if call.startswith("get") else client(tracker), call, broken)
        with pytest.raises(TrackingUnavailable, match=r"could not publish adam-w64-d1-s0: disk full"):
            tracker.publish(make_result(), "e", parent)
    ids = tracker.publish(make_result(), "e", parent)
    run = client(tracker).get_run(ids["run_id"])
    assert len(runs(tracker)) == 2
    assert (run.info.status, len(run.inputs.dataset_inputs), run.data.metrics["test/accuracy"]) == ("FINISHED", 1, 0.97)
    assert len(client(tracker).get_metric_history(ids["run_id"], "val/loss")) == 3


def test_run_that_failed_and_now_finished_takes_the_failed_ones_place(fresh: Fresh) -> None:
    tracker = fresh()
    parent = tracker.begin(ParentRun("e", "sweep", {}, "s"))
    failed = tracker.publish(make_result(status="failed", reason="out of memory", history={}, metrics={}), "e", parent)
    finished = tracker.publish(make_result(), "e", parent)
    assert failed != finished
    assert tracker.publish(make_result(), "e", parent) == finished
    assert [run.info.run_id for run in runs(tracker) if run.info.run_id != parent] == [finished["run_id"]]


def test_same_numbers_again_are_not_written_again(fresh: Fresh) -> None:
    tracker = fresh()
    run_id = tracker.begin(ParentRun("e", "sweep", {}))
    for value in (1.0, 1.0, 2.0):
        tracker.log_metrics(run_id, {"a": value})
    assert [point.value for point in client(tracker).get_metric_history(run_id, "a")] == [1.0, 2.0]


def test_moved_project_says_how_mlflow_finds_its_files(tmp_path: Path, blank_store: Path) -> None:
    old, new = tmp_path / "it's old", tmp_path / "new"
    old.mkdir()
    (old / "mlflow.db").write_bytes(blank_store.read_bytes())
    run_id = open_tracker("sqlite", root=old).publish(make_result(), "e")["run_id"]
    open_tracker("sqlite", root=old).add_files(run_id, {"a/mlflow.db": blank_store})
    old.rename(new)
    tracker = open_tracker("sqlite", root=new)
    with pytest.raises(UserError, match="was the project moved") as refused:
        tracker.add_files(run_id, {"b/mlflow.db": blank_store})
    subprocess.run(str(refused.value).partition("with: ")[2], shell=True, check=True)
    tracker.add_files(run_id, {"b/mlflow.db": blank_store})
    assert sorted(item.path for item in client(tracker).list_artifacts(run_id)) == ["a", "b", "provenance.json"]


def test_run_of_thousands_of_values_goes_in_parts(fresh: Fresh) -> None:
    tracker, job = fresh(), tracked_job()
    many = tuple((f"h{index}", index) for index in range(150))
    job = replace(job, optimizer=replace(job.optimizer, hyperparameters=many))
    history = {f"metric/{index}": [float(epoch) for epoch in range(300)] for index in range(8)}
    ids = tracker.publish(make_result(job=job, history=history, epochs=list(range(1, 301))), "e")
    assert len(client(tracker).get_metric_history(ids["run_id"], "metric/7")) == 300
    assert client(tracker).get_run(ids["run_id"]).data.params["optimizer.h149"] == "149"


def test_processes_of_one_sweep_share_its_run_and_sweeps_without_an_id_are_their_own(fresh: Fresh) -> None:
    assert fresh().begin(ParentRun("e", "sweep", {})) != fresh().begin(ParentRun("e", "sweep", {}))
    assert fresh().begin(ParentRun("e", "sweep", {}, sweep_id="7")) == fresh().begin(
        ParentRun("e", "sweep", {}, sweep_id="7")
    )


def test_run_of_a_dead_process_is_closed_when_the_next_begins(fresh: Fresh) -> None:
    tracker = fresh()
    dead = tracker.begin(ParentRun("e", "sweep", {}))
    tracker.publish(make_result(), "e", dead)
    tracker.set_tags(dead, GONE)
    fresh().begin(ParentRun("another", "sweep", {}))
    info = client(tracker).get_run(dead).info
    assert (info.status, info.end_time) == ("KILLED", max(info.start_time, 1770091512000))


def test_tag_without_a_value_is_taken_away(fresh: Fresh) -> None:
    tracker = fresh()
    run_id = tracker.begin(ParentRun("experiment", "sweep", {}))
    tracker.set_tags(run_id, {"warning": "of two machines", "lost.runs": ""})
    assert "lost.runs" not in client(tracker).get_run(run_id).data.tags
    tracker.set_tags(run_id, {"warning": "", "lost": "none"})
    tags = client(tracker).get_run(run_id).data.tags
    assert ("warning" in tags, tags["lost"]) == (False, "none")


def test_deleted_experiment_names_the_command_that_restores_it(fresh: Fresh) -> None:
    tracker = fresh()
    experiment = tracker.publish(make_result(), "e")["experiment_id"]
    client(tracker).delete_experiment(experiment)
    with pytest.raises(UserError, match=f"-m mlflow experiments restore --experiment-id {experiment}"):
        fresh().publish(make_result(), "e")


def test_an_experiment_that_a_person_made_gets_our_views_and_keeps_its_own_tags(fresh: Fresh) -> None:
    tracker = fresh()
    experiment = client(tracker).create_experiment("e", tags={"mlflow.experimentKind": "a person's"})
    tracker.publish(make_result(), "e")
    tags = client(tracker).get_experiment(experiment).tags
    assert tags["mlflow.experimentKind"] == "a person's"
    assert {"mlflow.sharedViewState.sweeps", "mlflow.sharedViewState.charts"} <= tags.keys()


def test_project_may_lie_anywhere(tmp_path: Path, blank_store: Path) -> None:
    root = tmp_path / "with space, it's é😀 #hash quo\"te; 100%"
    root.mkdir()
    (root / "mlflow.db").write_bytes(blank_store.read_bytes())
    tracker = open_tracker("sqlite", root=root)
    ids = tracker.publish(make_result(), "e")
    tracker.add_files(ids["run_id"], {"mlflow.db": blank_store})
    assert (root / "mlartifacts" / ids["run_id"] / "artifacts" / "mlflow.db").is_file()


def test_after_an_error_no_further_run_is_tried(fresh: Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker, calls = fresh(), []
    create = client(tracker).create_run

    def failing(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise OSError("disk full")
        return create(*arguments)

    monkeypatch.setattr(client(tracker), "create_run", failing)
    taken, error = tracker.publish_all([make_result(seed) for seed in range(4)], "e")
    assert (len(taken), len(calls)) == (1, 2)
    assert "could not publish adam-w64-d1-s1: disk full" in str(error)


def test_lock_held_elsewhere_is_named(fresh: Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    from filelock import FileLock

    monkeypatch.setattr("pipeline.tracking.connection.LOCK_SECONDS", 0.05)
    tracker = fresh()
    with FileLock(tracker.address.lock), pytest.raises(TrackingUnavailable, match=r"mlflow\.db\.lock"):
        tracker.begin(ParentRun("e", "sweep", {}))


@pytest.mark.fault("clock")
def test_a_sweep_never_ends_before_it_began(fresh: Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker, now = fresh(), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    parent = tracker.begin(ParentRun("clock", "sweep", {}))
    monkeypatch.setattr(time, "time", lambda: now)
    tracker.end(parent, "FINISHED")
    info = client(tracker).get_run(parent).info
    assert (info.status, info.end_time - info.start_time) == ("FINISHED", 0)
