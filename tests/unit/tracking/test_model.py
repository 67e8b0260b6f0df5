"""The model logged for the best run: it loads, predicts and is linked to its run."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

from pipeline.data.arrays import Arrays
from pipeline.models import networks
from pipeline.storage.store import RunStore
from pipeline.tracking import Tracker, TrackingUnavailable, models, open_tracker
from pipeline.training.result import RunResult
from pipeline.training.splits import split
from tests.support.factory import make_job, make_result

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
SAMPLES = np.random.default_rng(0).random((5, 784), dtype=np.float32)


class Sent(NamedTuple):
    tracker: Tracker
    store: RunStore
    network: Any
    result: RunResult
    ids: dict[str, str]

    def again(self, seed: int = 0) -> Any:
        """Send the model of the run with this seed and return the models of that run."""
        result = replace(make_result(seed), weights=self.result.weights)
        self.store.folder(result.key).mkdir(exist_ok=True)
        ids = self.tracker.publish(result, "e")
        models.send_model(self.tracker, self.store, result, ids, None, "float32")
        return self.models_of(ids["run_id"])

    def models_of(self, run_id: str) -> Any:
        return self.tracker.connection.client.search_logged_models(["1"], f"source_run_id = '{run_id}'")


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory, blank_store: Path, keras: ModuleType) -> Iterator[Sent]:
    result = make_result()
    network = networks.build(result.job.model, (28, 28), 10, "float32")
    networks.set_initial(network, result.job.model, 0)
    root = tmp_path_factory.mktemp("model store")
    (root / "mlflow.db").write_bytes(blank_store.read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        tracker, store = open_tracker("sqlite", root=root), RunStore(root / "runs")
        result = replace(result, weights=networks.weights(network))
        store.folder(result.key).mkdir(parents=True)
        made = Sent(tracker, store, network, result, tracker.publish(result, "e"))
        made.again()
        yield made


def test_it_loads_and_predicts_probabilities(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    # As a user would; undone after the test, since the address is global in MLflow.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", sent.tracker.address.uri)
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    loaded = mlflow.pyfunc.load_model(f"runs:/{sent.ids['run_id']}/model")
    np.testing.assert_allclose(loaded.predict(SAMPLES), sent.network.predict(SAMPLES, verbose=0), rtol=1e-6)
    signature = loaded.metadata.signature
    assert [(field.type, field.shape) for field in signature.inputs] == [(np.dtype("float32"), (-1, 784))]
    assert [field.shape for field in signature.outputs] == [(-1, 10)]


def test_a_network_of_standardised_samples_standardises_them_by_itself(
    sent: Sent, digits: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", sent.tracker.address.uri)
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    job = make_job(standardize=True)
    network = networks.build(job.model, digits.image_shape, 10, "float32")
    networks.set_initial(network, job.model, 0)
    result = replace(make_result(), job=job, key="5" * 64, weights=networks.weights(network))
    ids = sent.tracker.publish(result, "e")
    sent.store.folder(result.key).mkdir(parents=True)
    models.send_model(sent.tracker, sent.store, result, ids, digits, "float32")
    loaded = mlflow.pyfunc.load_model(f"runs:/{ids['run_id']}/model")
    test = split(digits, job.dataset).test
    expected = network.predict(test.images, verbose=0)
    np.testing.assert_allclose(loaded.predict(np.asarray(digits.test_images)), expected, rtol=1e-4)


def test_it_belongs_to_its_run_with_pinned_requirements(sent: Sent) -> None:
    client, run_id = sent.tracker.connection.client, sent.ids["run_id"]
    [model] = sent.models_of(run_id)
    assert (model.name, str(model.status)) == ("model", "READY")
    assert [output.model_id for output in client.get_run(run_id).outputs.model_outputs] == [model.model_id]
    assert sent.store.published(sent.result.key)["model"] == run_id
    lines = Path(unquote(urlsplit(model.artifact_location).path), "requirements.txt").read_text().split()
    assert [line.partition("==")[0] for line in lines] == ["mlflow", "keras", "tensorflow", "numpy"]


def test_a_second_time_it_is_the_first(sent: Sent) -> None:
    [model] = sent.models_of(sent.ids["run_id"])
    assert [again.model_id for again in sent.again()] == [model.model_id]


def test_model_that_broke_off_is_no_model(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(sent.tracker.connection.client, "log_model_artifacts", broken)
        with pytest.raises(TrackingUnavailable, match="could not log a model: disk full"):
            sent.again(1)
    [model] = sent.again(1)
    assert str(model.status) == "READY"
