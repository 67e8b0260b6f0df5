"""Shared by the trainers: which runs share a compiled program, learning rates, the samples of the curve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.config import run_config as j
from pipeline.config.run_config import RunConfig
from pipeline.models import custom_code, networks, randomness
from pipeline.training import schedules

CHUNK = 1000
"""Samples evaluated at once: their activations fit into the cache (the fastest of 100 to 4,000 at width 512)."""

CUSTOM = 1000
"""Assumed number of units of a custom model without `width`; only the order of jobs depends on it."""

INPUTS = ("learning_rate", "weight_decay")
"""Hyper-parameters that are variables of a program. The others are compiled in as constants, as in Keras."""

COMPILED_IN = ("batch_size", "loss", "curve_samples", "label_smoothing", "clip_norm", "metrics")
"""The fields of `j.Training` that are compiled into a program. The others are inputs or control when it is called."""


def shape_of(job: RunConfig) -> RunConfig:
    """Return the job without everything that its compiled program does not depend on."""
    # A custom optimizer may handle its weight decay itself, as a constant.
    inputs = INPUTS[:1] if "." in job.optimizer.keras_class else INPUTS
    fixed = tuple((n, v if n not in inputs or v is None else 1.0) for n, v in job.optimizer.hyperparameters)
    return replace(
        job,
        seed=0,
        model=_without_initializer(job.model),
        optimizer=replace(job.optimizer, hyperparameters=fixed),
        training=j.Training(epochs=0, **{name: getattr(job.training, name) for name in COMPILED_IN}),
    )


def _without_initializer(model: j.Model | j.CustomModel) -> j.Model | j.CustomModel:
    """Return the model without its initializer, since a program receives its initial weights."""
    return replace(model, kernel_initializer="", kernel_stddev=None) if isinstance(model, j.Model) else model


def training_loss(training: j.Training) -> Callable[[Any, Any], Any]:
    """Return the loss that is trained, (labels, outputs) -> (n,), with label smoothing and without penalties."""
    import keras

    if training.label_smoothing:
        return keras.losses.CategoricalCrossentropy(label_smoothing=training.label_smoothing, reduction="none")
    return plain_loss(training)


def plain_loss(training: j.Training) -> Callable[[Any, Any], Any]:
    """Return the loss in curves and metrics, Keras's or a custom one: (labels, outputs) -> (n,)."""
    import keras

    own = "." in training.loss
    found: Callable[[Any, Any], Any] = (
        custom_code.load(training.loss, "training.loss") if own else keras.losses.get(training.loss)
    )
    return found


def steps_of(job: RunConfig, samples: int) -> int:
    """Return the batches per epoch; the last one is smaller if the batch size does not divide the samples."""
    return -(-samples // job.training.batch_size)


def pads_last_batch(job: RunConfig, samples: int) -> bool:
    """Return whether a smaller last batch is padded with masked samples, since a separate step takes longer to compile.

    It is not padded if samples may affect others in the batch, as in a custom loss, or if it is the only batch.
    """
    batch, mixed = job.training.batch_size, networks.mixes_samples(job.model) or "." in job.training.loss
    return samples > batch and samples % batch > 0 and not mixed


def learning_rates(job: RunConfig, epoch: int, steps: int) -> np.ndarray:
    """Return the learning rate in each step of `epoch` (from 0), float64 (steps,).

    As in Keras's `CosineDecay`, the rate rises linearly from 0 in the warm-up, and then the schedule starts.
    """
    training, rate = job.training, float(job.optimizer["learning_rate"] or 0)
    warm_up = training.warmup_epochs * steps
    step = epoch * steps + np.arange(steps, dtype=np.float64)
    factors = schedules.factors(training, np.maximum(step - warm_up, 0), steps)
    return rate * np.where(step < warm_up, step / max(warm_up, 1), factors)


def curve(job: RunConfig, samples: int) -> np.ndarray | None:
    """Return the indices of the training samples that the curve is measured on, int32, ascending; None for all.

    They are drawn at random, since writers are not spread evenly over MNIST: a network with an accuracy of 99.3 % on all
    images has 98.9 % on every second image and 99.6 % on the others.
    """
    count = job.training.curve_samples
    return randomness.sample(samples, count) if 0 < count < samples else None


def cost(job: RunConfig) -> float:
    """Return the relative cost of a run, which determines the order of jobs."""
    return job.training.epochs * sum(job.hidden or (CUSTOM,)) + 1
