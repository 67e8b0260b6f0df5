"""Keras models in MLflow: saved with given requirements and signature (0.1 s; MLflow would infer them in 13 s)."""

from __future__ import annotations

import tempfile
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from mlflow.tracking import MlflowClient

NAME = "model"


def requirements(backend: str) -> list[str]:
    """The pinned packages that the model needs to predict."""
    pins = []
    for package in ("mlflow", "keras", backend, "numpy"):
        try:
            pins.append(f"{package}=={version(package)}")
        except PackageNotFoundError:
            continue
    return pins


def log(client: MlflowClient, run_id: str, model: Any, example: np.ndarray) -> str:
    """Save `model`, tie it to the run, hand over its files; the model's id, the first one's where the run has one.

    MLflow's `log_model` would do it through the global tracking address and the active run, which are not ours.
    """
    # MLflow's own types give it cause to warn, each time it imports them.
    warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType", UserWarning)
    import keras
    import mlflow.keras
    import numpy as np
    from mlflow.entities import LoggedModelOutput, Metric
    from mlflow.models import Model, ModelSignature
    from mlflow.types.schema import Schema, TensorSpec

    run = client.get_run(run_id)
    experiment_id = run.info.experiment_id
    for one in client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'"):
        if one.name == NAME and one.status == "READY":
            return one.model_id
        if one.name == NAME:
            # Left by a process that was killed; `runs:/…/model` would find it in place of the whole one.
            client.delete_logged_model(one.model_id)
    logged = client.create_logged_model(experiment_id, NAME, run_id, params=run.data.params, model_type="classifier")
    try:
        signature = ModelSignature(
            inputs=Schema([TensorSpec(np.dtype(example.dtype), (-1, *example.shape[1:]))]),
            outputs=Schema([TensorSpec(np.dtype("float32"), (-1, *model.output_shape[1:]))]),
        )
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / NAME
            card = Model(
                artifact_path=logged.artifact_location,
                run_id=run_id,
                model_uuid=logged.model_id,
                model_id=logged.model_id,
            )
            mlflow.keras.save_model(
                model,
                str(folder),
                mlflow_model=card,
                signature=signature,
                pip_requirements=requirements(keras.backend.backend()),
            )
            client.log_model_artifacts(logged.model_id, str(folder))
        # The run's last values once more, as the model's own: the page of the model shows them.
        histories = [client.get_metric_history(run_id, name) for name in run.data.metrics]
        last = [max(history, key=lambda metric: (metric.step, metric.timestamp)) for history in histories]
        client.log_batch(
            run_id, [Metric(one.key, one.value, one.timestamp, one.step, model_id=logged.model_id) for one in last]
        )
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, max((one.step for one in last), default=0))])
        client.finalize_logged_model(logged.model_id, "READY")
    except BaseException:
        client.delete_logged_model(logged.model_id)
        raise
    return logged.model_id
