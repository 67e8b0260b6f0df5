"""Helpers that train jobs, and jobs that together use every optimizer, activation and loss."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.config import rules
from pipeline.config.run_config import CustomModel, Optimizer, RunConfig
from pipeline.config.values import ACTIVATIONS, LOSSES
from pipeline.data.arrays import Arrays
from pipeline.models.devices import Device, choose
from pipeline.training import trainer
from pipeline.training.result import RunResult
from pipeline.training.splits import Part, Split
from tests.support.factory import make_job

OPTIMIZERS = rules.options("optimizer")
ALL = os.environ.get("TESTS") == "all"
IN_FLOAT64 = OPTIMIZERS if ALL else ("adamw", "nadam")
"""The optimizers tested in float64: two, or with TESTS=all every one, which covers every activation and loss."""
ON_JAX = ("muon",)
"""Optimizers tested with the stacked engine, whose state between steps differs from that of WITH_MORE's optimizers."""
SIDES = ("running", "train", "val")

_MORE = {
    "normalised": {
        "optimizer": "nesterov", "learning_rate": 0.0625, "hidden": [12, 7], "batch_normalization": True, "max_norm": 1.2,
        "l2": 0.001, "schedule": "staircase", "decay": 0.5, "decay_epochs": 1,
    },
    "smoothed": {
        "optimizer": "momentum", "learning_rate": 0.5, "weight_decay": 0.25, "kernel_initializer": "truncated_normal",
        "kernel_stddev": 0.2, "l1": 0.001, "label_smoothing": 0.125, "clip_norm": 0.5, "schedule": "cosine", "warmup_epochs": 1,
    },
}  # fmt: skip
_SHAPE = {"epochs": 3, "evaluate_every": 2, "curve_samples": 1050, "batch_size": 128, "seed": 2}
WITH_MORE = {name: make_job(**_SHAPE, **values) for name, values in _MORE.items()}
"""Jobs with options that `one_of_each` lacks. The curve uses some of the samples, more than are evaluated at once."""


def _own(build: str, epochs: int = 2, **arguments: Any) -> RunConfig:
    job = make_job("adam", epochs=epochs, seed=2, metrics=["macro_f1"])
    return replace(job, model=CustomModel(build.split(".")[-2], build, tuple(sorted(arguments.items()))))


def _all_of_ones_own() -> RunConfig:
    """Return a job whose network, optimizer, loss, schedule and metric are custom code."""
    job = _own("tests.support.custom_code.bottleneck", width=16, narrow=(4, 5))
    named = {"loss": "half_squared_error", "schedule": "triangle"}
    paths = {key: f"tests.support.custom_code.{name}" for key, name in named.items()}
    training = replace(job.training, **paths, metrics=("tests.support.custom_code.worst_class",))
    sign = Optimizer("sign", (("learning_rate", 0.0078125), ("shrink", 0.5)), "tests.support.custom_code.SignSGD")
    return replace(job, training=training, optimizer=sign)


OWN = {
    "residual": _own("pipeline.models.residual.build", width=12, blocks=2, activation="relu", dropout=0.0),
    "convolutional": _own(
        "pipeline.models.convolutional.build", filters=(4, 6), kernel_size=3, dense=10, activation="relu", dropout=0.0
    ),
    "all of one's own": _all_of_ones_own(),
}
"""Jobs with custom code, named by its import path."""


@dataclass
class Trained:
    """The results of a job from the engine, from the same program again after another job, and from `fit`."""

    first: RunResult
    again: RunResult
    reference: RunResult


def device(**changes: Any) -> Device:
    values: dict[str, Any] = {"kind": "cpu", "backend": "tensorflow", "precision": "float32", "xla": True}
    return choose(**(values | {"trainer": "engine", "workers": 2, "stack": 0} | changes))


def cut(digits: Arrays, samples: int, held_out: int = 100) -> Split:
    """Return the first `samples` of digits to train on, the next `held_out` for validation, and 200 test samples."""
    ends = samples, samples + held_out
    return Split(
        Part(digits.train_images[: ends[0]], digits.train_labels[: ends[0]]),
        Part(digits.train_images[ends[0] : ends[1]], digits.train_labels[ends[0] : ends[1]]),
        Part(digits.test_images[:200], digits.test_labels[:200]),
        "val",
        digits.image_shape,
    )


def train(jobs: Sequence[RunConfig], split: Split, on: Device, **others: Any) -> list[RunResult]:
    """Train jobs and return their results in order; `others` are `checkpoints` and `prune`."""
    events = trainer.train(jobs, split, 10, on, **others)
    done = {event.index: event.result for event in events if isinstance(event, trainer.Done)}
    return [done[index] for index in range(len(jobs))]


def one_of_each() -> dict[str, RunConfig]:
    """Return a job per optimizer; together they use every activation and loss, and weight decay on and off."""
    jobs = {}
    for number, name in enumerate(OPTIMIZERS):
        own: dict[str, Any] = {
            "hidden": [12] if number % 4 else [12, 7],
            "activation": ACTIVATIONS[number % len(ACTIVATIONS)],
            "loss": LOSSES[number % len(LOSSES)],
            "seed": 3,
        }
        if number % 2:
            own["weight_decay"] = 0.01
        job = make_job(name, **own)
        # Keras on TensorFlow reads hyper-parameters as float32 even when it computes in float64; on JAX it does not.
        plain = {n: float(np.float32(v)) if isinstance(v, float) else v for n, v in job.optimizer.hyperparameters}
        jobs[name] = replace(job, optimizer=replace(job.optimizer, hyperparameters=tuple(sorted(plain.items()))))
    return jobs


def unlike(job: RunConfig) -> RunConfig:
    """Return another job of the same shape; training it changes every slot of the optimizer."""
    values = dict(job.optimizer.hyperparameters)
    values["learning_rate"] = 3 * float(values["learning_rate"] or 0)
    if values["weight_decay"]:
        values["weight_decay"] = 0.02
    optimizer = replace(job.optimizer, hyperparameters=tuple(sorted(values.items())))
    return replace(job, optimizer=optimizer, seed=5, training=replace(job.training, epochs=2))


def losses(result: RunResult) -> dict[str, float]:
    """Return every loss of a run: those of each epoch and those of the final weights."""
    curve = {f"{side} {n}": loss for side in SIDES for n, loss in enumerate(result.history[f"{side}/loss"], start=1)}
    return curve | {f"{side}/loss": result.metrics[f"{side}/loss"] for side in ("train", "val", "test")}


def bits(result: RunResult) -> dict[str, Any]:
    """Return everything that must be bit-identical when a run is trained again."""
    metrics = {name: value for name, value in result.metrics.items() if not name.startswith("time/")}
    return {"history": result.history, "metrics": metrics, "digests": result.digests, "status": result.status}
