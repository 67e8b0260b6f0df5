"""Names of `conf/optimizer/` to Keras's optimizers: the table is all there is; their mathematics is Keras's."""

from __future__ import annotations

from typing import Any

from pipeline.config import job as j

CLASSES = {
    "adadelta": "Adadelta",
    "adafactor": "Adafactor",
    "adagrad": "Adagrad",
    "adam": "Adam",
    "adamax": "Adamax",
    "adamw": "AdamW",
    "ftrl": "Ftrl",
    "lamb": "Lamb",
    "lion": "Lion",
    "momentum": "SGD",
    "muon": "Muon",
    "nadam": "Nadam",
    "nesterov": "SGD",
    "rmsprop": "RMSprop",
    "schedule_free_adamw": "ScheduleFreeAdamW",
    "sgd": "SGD",
}


def build(optimizer: j.Optimizer) -> Any:
    """A fresh `keras.optimizers.Optimizer` with exactly these hyper-parameters."""
    import keras

    return getattr(keras.optimizers, CLASSES[optimizer.name])(**dict(optimizer.hyperparameters))
