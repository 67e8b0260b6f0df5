"""Save Keras models to MLflow with explicit requirements and signature (0.1 s; MLflow takes 13 s to infer them)."""

from __future__ import annotations

import json
import math
import tempfile
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.cli.console import PROJECT
from pipeline.cli.errors import UserError
from pipeline.config.run_config import Model
from pipeline.data.arrays import Arrays
from pipeline.models import devices, networks
from pipeline.storage.record import UnreadableRun
from pipeline.storage.sources import judged_on
from pipeline.storage.store import RunStore, save_weights
from pipeline.tracking import runs
from pipeline.training.splits import split

if TYPE_CHECKING:
    from pipeline.tracking.tracker import Tracker
    from pipeline.training.result import RunResult

NAME, SERVED = "model", "classifier"
"""Names of a run's Keras model, and of its served model: raw pixels in, classes and probabilities out."""


def requirements(backend: str) -> list[str]:
    """Return the pinned packages that the model needs to predict."""
    return [f"{package}=={version(package)}" for package in ("mlflow", "keras", backend, "numpy")]


def send_model(
    tracker: Tracker, store: RunStore, result: RunResult, ids: Mapping[str, str], arrays: Arrays | None, dtype: str
) -> None:
    """Save the network of `result` with its run, for `mlflow.pyfunc.load_model("runs:/<run_id>/model")`.

    `result` has its weights, and `ids` are those of its run. `arrays` are its data; without them only a plain dense network
    can be built. `dtype` is the Keras dtype policy of the training. The model standardizes its inputs if the training did.
    The caller has started Keras.
    """
    import keras
    import mlflow.keras
    from mlflow.models import infer_signature

    weights = result.weights or {}
    shape = arrays.image_shape if arrays else (len(next(iter(weights.values()))),)
    inputs, classes = math.prod(shape), len(weights["classes/bias"])
    network = networks.build(result.job.model, shape, classes, dtype)
    networks.set_weights(network, weights)
    if arrays and (scaling := split(arrays, result.job.dataset).train.scaling):
        standardize = keras.layers.Normalization(mean=scaling.mean, variance=scaling.deviation**2)
        network = keras.Sequential([keras.Input((inputs,)), standardize, network])
    signature = infer_signature(np.zeros((1, inputs), "float32"), np.zeros((1, classes), "float32"))

    def save(folder: str, card: Any) -> None:
        backend = keras.backend.backend()
        pins = requirements(backend)
        # On JAX, Keras would import TensorFlow to check whether the network contains its objects.
        with devices.hide_packages(devices.UNUSED[backend]):
            mlflow.keras.save_model(network, folder, mlflow_model=card, signature=signature, pip_requirements=pins)

    _log(tracker, ids["run_id"], NAME, save)
    store.note_published(result.key, {**ids, "model": ids["run_id"]})


def send_winner(store: RunStore, tracker: Tracker, key: str, published: Mapping[str, Mapping[str, str]]) -> None:
    """Send the network of a sweep's best run, unless its weights were not kept or the store already has it."""
    ids = published.get(key)
    if not ids or store.published(key, ids["store"]).get("model") == ids["run_id"]:
        return
    try:
        result = store.read(key)
    except (KeyError, UnreadableRun):
        return
    if result.weights is None:
        return
    try:
        arrays = judged_on(result, PROJECT / "data" / "processed")
    except UserError:
        arrays = None
        if not isinstance(result.job.model, Model) or result.job.dataset.standardize:
            folder = f"data/processed/{result.job.dataset.name}"
            why = f"its preprocessed data is missing or has changed ({folder})"
            print(f"the model of {result.name} is not sent: {why}", flush=True)
            return
    precision = result.identity["numerics"]["precision"]
    devices.start(devices.choose("cpu", "tensorflow", "float32", True, "engine", 1, 0), trains=False)
    send_model(tracker, store, result, ids, arrays, "float32" if precision == "tensorfloat32" else precision)
    print(f"and the model of {result.name}", flush=True)


def log_served(tracker: Tracker, run_id: str, result: RunResult, arrays: Arrays) -> str:
    """Save the network of `result`, which has its weights, as a model for raw samples, and return the model's id.

    The model consists of arrays and the plain values of the job, without pickled objects or serialized layers.
    """
    import mlflow.pyfunc
    from mlflow.models import infer_signature

    # Not uint8: MLflow's server casts inputs to the signature's type and would truncate 0.7 to 0. The model itself checks
    # that the values are raw pixels.
    signature = infer_signature(np.zeros((1, *arrays.image_shape), "float64"))
    plain = {"job": result.job.to_dict(), "image_shape": list(arrays.image_shape), "brightest": arrays.brightest}
    if scaling := split(arrays, result.job.dataset).train.scaling:
        plain["scaling"] = [scaling.mean.tolist(), scaling.deviation.tolist()]

    def save(folder: str, card: Any) -> None:
        with tempfile.TemporaryDirectory() as temporary:
            weights, values = Path(temporary) / "weights.npz", Path(temporary) / "network.json"
            save_weights(weights, result.weights or {})
            values.write_text(json.dumps(plain))
            mlflow.pyfunc.save_model(
                folder,
                # A path, not an import: MLflow loads the file where it serves the model.
                python_model=str(Path(__file__).with_name("served.py")),
                artifacts={"weights": str(weights), "network": str(values)},
                mlflow_model=card,
                signature=signature,
                pip_requirements=requirements("tensorflow"),
            )

    return _log(tracker, run_id, SERVED, save)


def _log(tracker: Tracker, run_id: str, name: str, save: Callable[[str, Any], None]) -> str:
    """Save a model with a run, unless the run has a model of this name, and return the model's id.

    MLflow's `log_model` would use the global tracking address and the active experiment instead of ours.
    """
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    with tracker.connection.exclusive("log a model") as client:
        run = client.get_run(run_id)
        if runs.deleted(run):
            raise UserError(
                f"{run.info.run_name} was deleted in MLflow; bring it back with: python -m pipeline.publish"
            )
        runs.check_folder(run, tracker.address.artifacts)
        experiment_id = run.info.experiment_id
        for model in client.search_logged_models([experiment_id], f"source_run_id = '{run_id}' AND name = '{name}'"):
            if model.status == "READY":
                return model.model_id
            # Incomplete after a kill or on a full disk; `runs:/…/model` would find it.
            client.delete_logged_model(model.model_id)
        logged = client.create_logged_model(
            experiment_id, name, run_id, params=run.data.params, model_type="classifier"
        )
        with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
            # MLflow recommends type hints and input examples, which an explicit signature makes unnecessary.
            warnings.simplefilter("ignore")
            folder = str(Path(temporary) / name)
            save(folder, Model(logged.artifact_location, run_id, model_uuid=logged.model_id, model_id=logged.model_id))
            client.log_model_artifacts(logged.model_id, folder)
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
        client.finalize_logged_model(logged.model_id, "READY")
        return logged.model_id
