"""What stands in the store, read back with MLflow's own client."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.tracking import views
from tests.unit.tracking.conftest import Filled
from tests.unit.tracking.factory import DATA_DIGEST


def search(filled: Filled, query: str, **more: list[str]) -> list[str]:
    found = filled.client.search_runs([filled.ids[0]["experiment_id"]], query, **more)
    return [run.info.run_name for run in found]


@pytest.mark.parametrize("name", ["train/loss", "train/accuracy", "val/loss", "gap/accuracy", "running/accuracy"])
def test_metric_by_epoch(filled: Filled, name: str) -> None:
    history = filled.client.get_metric_history(filled.run.info.run_id, name)
    assert [(point.step, point.value) for point in history] == list(enumerate(filled.results[0].history[name], start=1))


def test_figures(filled: Filled) -> None:
    assert filled.results[0].figures.items() <= filled.run.data.metrics.items()


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("status", "finished"),
        ("data.sha256", DATA_DIGEST),
        ("env.dvc_experiment", "rosy-pika"),
        ("numerics.device", "cpu"),
        ("mlflow.source.git.commit", "c" * 40),
        ("mlflow.source.type", "LOCAL"),
    ],
)
def test_tag(filled: Filled, tag: str, value: str) -> None:
    assert filled.run.data.tags[tag] == value


def test_tags_are_what_a_person_filters_by(filled: Filled) -> None:
    """All else is in one file: MLflow's table has a column for each tag."""
    ours = {name for name in filled.run.data.tags if not name.startswith("mlflow.")}
    assert ours == {
        *("run.key", "run.configuration", "run.started", "status", "data.sha256", "source.sha256"),
        *("numerics.backend", "numerics.device", "env.dvc_experiment", "process"),
    }


def test_provenance_is_one_file_of_the_run(filled: Filled, tmp_path: Path) -> None:
    path = filled.client.download_artifacts(filled.run.info.run_id, "provenance.json", str(tmp_path))
    known, result = json.loads(Path(path).read_text()), filled.results[0]
    assert known["environment"] == result.environment
    assert (known["digests"], known["identity"], known["key"]) == (result.digests, result.identity, result.key)


def test_key_is_found_by_its_tag(filled: Filled) -> None:
    assert search(filled, f"tags.`run.key` = '{filled.results[1].key}'") == ["adam-w64-d1-s1"]


def test_name_is_the_jobs(filled: Filled) -> None:
    assert filled.run.info.run_name == "adam-w64-d1-s0"


def test_run_is_finished_at_the_times_of_its_training(filled: Filled) -> None:
    info = filled.run.info
    assert (info.status, info.start_time, info.end_time) == ("FINISHED", 1770091506000, 1770091512000)


def test_dataset_is_an_input_with_our_digest(filled: Filled) -> None:
    [given] = filled.run.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("mnist", DATA_DIGEST[:36])
    assert {tag.key: tag.value for tag in given.tags} == {"mlflow.data.context": "training"}


def test_dataset_can_be_read_by_mlflow(filled: Filled) -> None:
    from mlflow.data.schema import TensorDatasetSchema

    dataset = filled.run.inputs.dataset_inputs[0].dataset
    assert TensorDatasetSchema.from_dict(json.loads(dataset.schema)).features.inputs[0].shape == (-1, 784)


def test_child_is_under_its_sweep(filled: Filled) -> None:
    assert filled.client.get_parent_run(filled.run.info.run_id).info.run_id == filled.parent
    assert filled.ids[0]["parent_run_id"] == filled.parent


def test_sweep_is_a_run_of_its_own_name_that_carries_the_comparison(filled: Filled) -> None:
    run = filled.client.get_run(filled.parent)
    assert (run.info.run_name, run.info.status) == ("optimizers-by-width", "FINISHED")
    assert run.data.tags["question"] == "which optimizer"
    assert run.data.tags["mlflow.note.content"].startswith("| optimizer | gap |")
    assert run.data.metrics == {"best/test_accuracy": 0.97}


def test_single_run_has_no_parent(filled: Filled) -> None:
    assert "mlflow.parentRunId" not in filled.client.get_run(filled.single_ids["run_id"]).data.tags


def test_runs_are_sorted_by_the_overfitting_gap(filled: Filled) -> None:
    order = ['metrics."overfitting_gap/accuracy" DESC']
    finished = "tags.status = 'finished' and tags.`mlflow.parentRunId` != ''"
    assert search(filled, finished, order_by=order) == ["adam-w64-d1-s0", "adam-w64-d1-s2", "adam-w64-d1-s1"]


def test_diverged_run_is_failed_with_its_reason(filled: Filled) -> None:
    run = filled.client.get_run(filled.diverged_ids["run_id"])
    assert (run.info.status, run.data.tags["status"], run.data.tags["reason"]) == ("FAILED", "diverged", "loss is nan")


def test_no_infinity_is_stored(filled: Filled) -> None:
    run = filled.client.get_run(filled.diverged_ids["run_id"])
    assert run.data.metrics == {}
    assert run.data.tags["nonfinite"] == "train/loss@1=inf, train/loss@2=nan"


def test_nothing_else_lies_in_the_project(filled: Filled) -> None:
    database = filled.tracker.address.database
    assert database is not None
    assert {path.name for path in database.parent.iterdir()} <= {"mlflow.db", "mlflow.db.lock", "mlartifacts"}


def test_experiment_has_a_view_of_the_gap(filled: Filled) -> None:
    tags = filled.client.get_experiment(filled.ids[0]["experiment_id"]).tags
    assert json.loads(tags[f"mlflow.sharedViewState.{views.KEY}"])["name"] == "Overfitting gap"
