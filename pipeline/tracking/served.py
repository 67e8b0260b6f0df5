"""The served champion: a model that MLflow loads from this file, arrays and plain values.

Images are raw pixels of shape (n, height, width): whole numbers from 0 to the brightest value of the data set. Samples that
are not scaled, such as rows of a table, are finite numbers. The output has the class and all class probabilities per sample.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow.models
import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException


def check_pixels(images: np.ndarray, brightest: float) -> None:
    """Raise MLflow's invalid-parameter error (HTTP status 400) unless `images` are raw pixels.

    MLflow checks type and shape against the model's signature.
    """
    got = None
    if not ((images >= 0) & (images <= brightest)).all():  # NaN fails both comparisons
        got = f"values from {images.min():g} to {images.max():g}"
    elif (images != np.rint(images)).any():
        got = "fractions; were the pixels scaled to [0, 1]?"
    elif images.max() == 1:
        # Scaled, then rounded or truncated to black and white.
        got = "no value above 1; were the pixels scaled to [0, 1]?"
    if got:
        raise MlflowException.invalid_parameter_value(
            f"expected raw pixels, whole numbers from 0 to {brightest:g}; got {got}"
        )


class Classifier(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined]
    def load_context(self, context: Any) -> None:
        from pipeline.config.run_config import RunConfig
        from pipeline.models import devices, networks

        plain = json.loads(Path(context.artifacts["network"]).read_text())
        self.brightest, self.shape = float(plain["brightest"]), tuple(plain["image_shape"])
        # With `dataset.standardize` the network was trained on standardized samples.
        self.mean, self.deviation = np.asarray(plain.get("scaling") or [0, 1], np.float32)
        with np.load(context.artifacts["weights"], allow_pickle=False) as arrays:
            weights = {name.replace(".", "/"): arrays[name] for name in arrays.files}
        devices.start(devices.choose("cpu", "tensorflow", "float32", False, "reference", 1, 0), trains=False)
        classes = len(weights["classes/bias"])
        self.network = networks.build(RunConfig.from_dict(plain["job"]).model, self.shape, classes, "float32")
        networks.set_weights(self.network, weights)

    # MLflow warns about an argument without a type and interprets most types as a schema, but not this one.
    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> pd.DataFrame:
        images = np.asarray(model_input)
        if self.brightest != 1:
            check_pixels(images, self.brightest)
        elif not np.isfinite(images).all():
            raise MlflowException.invalid_parameter_value("expected finite numbers")
        scaled = images.reshape(len(images), -1).astype(np.float32) / np.float32(self.brightest)
        probabilities = np.asarray(self.network((scaled - self.mean) / self.deviation, training=False))
        return pd.DataFrame({"class": probabilities.argmax(axis=1), "probabilities": probabilities.tolist()})


mlflow.models.set_model(Classifier())
