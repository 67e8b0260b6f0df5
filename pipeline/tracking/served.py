"""The champion as a service: MLflow loads this file, and with it arrays and plain values, from where the model is kept.

Images come as raw pixels, (n, height, width) whole numbers from 0 to the brightest one; each gets its class and the
probability of every class.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow.models
import mlflow.pyfunc
import numpy as np
import pandas as pd


class Classifier(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined]
    def load_context(self, context: Any) -> None:
        from pipeline.config.job import Job
        from pipeline.models import dense, devices

        plain = json.loads(Path(context.artifacts["network"]).read_text())
        self.brightest, self.shape = float(plain["brightest"]), tuple(plain["image_shape"])
        with np.load(context.artifacts["weights"], allow_pickle=False) as arrays:
            weights = {name.replace(".", "/"): arrays[name] for name in arrays.files}
        devices.start(devices.choose("cpu", "tensorflow", "float32", False, "reference", 1, 0))
        pixels, classes = int(np.prod(self.shape)), len(weights["classes/bias"])
        self.network = dense.build(Job.from_dict(plain["job"]).model, pixels, classes, "float32")
        dense.set_weights(self.network, weights)

    # Without annotations: MLflow would take them for a schema, and complain.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        images = np.asarray(model_input)
        scaled = images.reshape(len(images), -1).astype(np.float32) / np.float32(self.brightest)
        probabilities = np.asarray(self.network(scaled, training=False))
        return pd.DataFrame({"class": probabilities.argmax(axis=1), "probabilities": probabilities.tolist()})


mlflow.models.set_model(Classifier())
