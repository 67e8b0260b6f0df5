"""The content of the store, read with MLflow's own client."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.arrays import Arrays
from pipeline.tracking import Tracker, confusion, describe
from tests.support.factory import DATA_DIGEST, make_result
from tests.unit.tracking.conftest import Filled


@pytest.mark.parametrize("name", ["train/loss", "train/accuracy", "val/loss", "gap/accuracy", "running/accuracy"])
def test_metric_by_epoch(filled: Filled, name: str) -> None:
    history = filled.client.get_metric_history(filled.run.info.run_id, name)
    assert [(point.step, point.value) for point in history] == list(enumerate(filled.results[0].history[name], start=1))


def test_tags_are_what_a_person_filters_by(filled: Filled) -> None:
    """All other information is in one file, since MLflow's table has a column for each tag."""
    tags = filled.run.data.tags
    assert {name for name in tags if not name.startswith("mlflow.")} == {
        *("run.key", "run.started", "status", "numerics.backend", "numerics.device", "env.dvc_experiment", "process"),
    }
    expected = {
        "status": "finished",
        "mlflow.runColor": "#0072b2",
        "env.dvc_experiment": "rosy-pika",
        "numerics.device": "cpu",
        "mlflow.source.git.commit": "c" * 40,
    }
    assert expected.items() <= tags.items()


def test_provenance_is_one_file_of_the_run(filled: Filled, tmp_path: Path) -> None:
    path = filled.client.download_artifacts(filled.run.info.run_id, "provenance.json", str(tmp_path))
    known, result = json.loads(Path(path).read_text())["record"], filled.results[0]
    assert known["environment"] == result.environment
    assert (known["digests"], known["identity"], known["key"]) == (result.digests, result.identity, result.key)


def test_run_is_a_finished_child_of_its_sweep_at_the_times_of_its_training(filled: Filled) -> None:
    info = filled.run.info
    assert filled.client.get_parent_run(info.run_id).info.run_id == filled.parent == filled.ids[0]["parent_run_id"]
    assert "mlflow.parentRunId" not in filled.client.get_run(filled.single_ids["run_id"]).data.tags
    assert filled.results[0].metrics.items() <= filled.run.data.metrics.items()
    assert (info.status, info.start_time, info.end_time) == ("FINISHED", 1770091506000, 1770091512000)


def test_metrics_for_people_have_a_unit_and_four_digits(fresh: Callable[[], Tracker]) -> None:
    metrics = {"test/accuracy": 0.97839999198, "overfitting_gap/accuracy": 0.0159600009}
    run_id = fresh().publish(make_result(metrics=metrics), "e")["run_id"]
    metrics = fresh().connection.client.get_run(run_id).data.metrics
    shown = {name: value for name, value in metrics.items() if name.endswith(("_percent", "_points"))}
    assert shown == {"test_accuracy_percent": 97.84, "overfitting_gap_points": 1.596}


def test_a_run_of_an_earlier_release_which_has_no_percent_is_left_as_it_is(fresh: Callable[[], Tracker]) -> None:
    tracker = fresh()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(describe, "PERCENT", {})
        ids = tracker.publish(make_result(), "e")
    assert fresh().publish(make_result(), "e") == ids


def test_a_run_shows_what_it_takes_for_what(fresh: Callable[[], Tracker], digits: Arrays, tmp_path: Path) -> None:
    wrong = np.asarray(digits.test_labels).copy()
    wrong[0] = (wrong[0] + 1) % 10
    result = replace(make_result(), predictions=wrong, identity={**make_result().identity, "data": digits.digest})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(confusion, "_arrays", lambda name: digits)
        run_id = fresh().publish(result, "e")["run_id"]
    path = fresh().connection.client.download_artifacts(run_id, "confusion_matrix.html", str(tmp_path))
    page = Path(path).read_text()
    assert "1 errors on" in page
    assert page.count("rgba(213,94,0,1.00)'>1<") == 1


def test_dataset_is_an_input_with_our_digest(filled: Filled) -> None:
    [given] = filled.run.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("mnist", DATA_DIGEST[:36])
    assert {tag.key: tag.value for tag in given.tags} == {"mlflow.data.context": "training"}


def test_sweep_is_a_run_of_its_own_name_that_carries_the_comparison(filled: Filled) -> None:
    run = filled.client.get_run(filled.parent)
    assert (run.info.run_name, run.info.status) == ("optimizers-by-width", "FINISHED")
    assert run.data.tags["question"] == "which optimizer"
    assert run.data.tags["mlflow.note.content"].startswith("| optimizer | gap |")
    assert run.data.metrics == {"best/test_accuracy": 0.97}


def test_diverged_run_is_failed_with_its_reason(filled: Filled) -> None:
    run = filled.client.get_run(filled.diverged_ids["run_id"])
    assert (run.info.status, run.data.tags["status"], run.data.tags["reason"]) == ("FAILED", "diverged", "loss is nan")


def test_a_run_that_was_shown_while_it_trained_never_ends_before_it_begins(fresh: Callable[[], Tracker]) -> None:
    """The training time excludes evaluation, so a run may first be shown later than its start plus that time."""
    tracker, result = fresh(), make_result()
    late = datetime.fromisoformat(result.started) + timedelta(seconds=result.metrics["time/train_s"] + 60)
    shown = replace(result, status="running", history={}, epochs=[], metrics={}, started=late.isoformat())
    run_id = tracker.start(shown, "e")
    assert tracker.publish(result, "e")["run_id"] == run_id
    info = tracker.connection.client.get_run(run_id).info
    assert info.end_time >= info.start_time == int(late.timestamp() * 1000)
