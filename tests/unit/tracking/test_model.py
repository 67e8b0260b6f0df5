"""The model that the winner carries: it loads, predicts and is found from its run."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

from pipeline.tracking import Tracker, TrackingUnavailable, models, open_tracker
from tests.unit.tracking.factory import make_result

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
SAMPLES = np.random.default_rng(0).random((5, 784), dtype=np.float32)


class Logged(NamedTuple):
    tracker: Tracker
    model: Any
    run_id: str
    model_id: str
    seconds: float


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory, blank_store: Path, keras: ModuleType) -> Iterator[Logged]:
    model = keras.Sequential(
        [keras.Input((784,)), keras.layers.Dense(4, activation="relu"), keras.layers.Dense(10, activation="softmax")]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        root = tmp_path_factory.mktemp("model store")
        (root / "mlflow.db").write_bytes(blank_store.read_bytes())
        tracker = open_tracker("sqlite", root=root)
        run_id = tracker.publish(make_result(), "e")["run_id"]
        began = time.perf_counter()
        model_id = models.log_model(tracker, run_id, model, SAMPLES[:1])
        yield Logged(tracker, model, run_id, model_id, time.perf_counter() - began)


def test_it_takes_no_inference_of_requirements(logged: Logged) -> None:
    assert logged.seconds < 6, "MLflow infers requirements in a new process for 13 s where none are given"


def test_it_loads_and_predicts_probabilities(logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    # What a person does, and undone: the address is global in MLflow.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", logged.tracker.address.uri)
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    loaded = mlflow.pyfunc.load_model(f"runs:/{logged.run_id}/model")
    probabilities = loaded.predict(SAMPLES)
    assert probabilities.shape == (5, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(probabilities, logged.model.predict(SAMPLES, verbose=0), rtol=1e-6)


def test_its_signature_is_checked_when_it_predicts(logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", logged.tracker.address.uri)
    signature = mlflow.models.get_model_info(f"models:/{logged.model_id}").signature
    assert [(field.type, field.shape) for field in signature.inputs] == [(np.dtype("float32"), (-1, 784))]
    assert [field.shape for field in signature.outputs] == [(-1, 10)]


def test_it_belongs_to_its_run(logged: Logged) -> None:
    client = logged.tracker.connection.client
    model = client.get_logged_model(logged.model_id)
    assert (model.source_run_id, model.name, str(model.status)) == (logged.run_id, "model", "READY")
    assert [output.model_id for output in client.get_run(logged.run_id).outputs.model_outputs] == [logged.model_id]


def test_it_shows_the_figures_of_its_run(logged: Logged) -> None:
    model = logged.tracker.connection.client.get_logged_model(logged.model_id)
    assert {metric.key: metric.value for metric in model.metrics}["test/accuracy"] == 0.97


def test_its_figures_do_not_repeat_those_of_the_run(logged: Logged) -> None:
    assert len(logged.tracker.connection.client.get_metric_history(logged.run_id, "test/accuracy")) == 1


def test_its_requirements_are_pinned(logged: Logged) -> None:
    database = logged.tracker.address.database
    assert database is not None
    folder = database.parent / "mlartifacts" / "models" / logged.model_id / "artifacts"
    lines = (folder / "requirements.txt").read_text().split()
    assert [line.partition("==")[0] for line in lines] == ["mlflow", "keras", "tensorflow", "numpy"]


def test_a_second_time_it_is_the_first(logged: Logged) -> None:
    assert models.log_model(logged.tracker, logged.run_id, logged.model, SAMPLES) == logged.model_id


def test_model_that_broke_off_is_no_model(logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = logged.tracker.publish(make_result(1), "e")["run_id"]
    client = logged.tracker.connection.client

    def broken(*arguments: Any) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(client, "log_model_artifacts", broken)
        with pytest.raises(TrackingUnavailable, match="could not log a model: disk full"):
            models.log_model(logged.tracker, run_id, logged.model, SAMPLES)
    model_id = models.log_model(logged.tracker, run_id, logged.model, SAMPLES)
    assert [one.model_id for one in client.search_logged_models(["1"], f"source_run_id = '{run_id}'")] == [model_id]
