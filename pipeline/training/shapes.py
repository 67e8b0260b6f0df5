"""What the trainers share: which runs can share a compiled program, learning rates, the samples of the curve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.config import run_config as j
from pipeline.config.run_config import RunConfig
from pipeline.models import networks, own_code, randomness
from pipeline.training import schedules

CHUNK = 1000
"""Samples evaluated at once: their activations fit the cache (measured best of 100 to 4,000 at width 512)."""

CUSTOM = 1000
"""Units that a custom model without `width` is taken to have, where only the order of jobs depends on it."""

INPUTS = ("learning_rate", "weight_decay")
"""Hyper-parameters that are variables of a program. The others are compiled in as constants, as exact as Keras computes them."""

COMPILED_IN = ("batch_size", "loss", "curve_samples", "label_smoothing", "clip_norm", "metrics")
"""What a program holds of `j.Training`. All else is an input of it, or says when it is called."""


def shape_of(job: RunConfig) -> RunConfig:
    """What a program is compiled for: the job without all that is a variable of the program or that it never sees."""
    fixed = tuple((n, v if n not in INPUTS or v is None else 1.0) for n, v in job.optimizer.hyperparameters)
    return replace(
        job,
        seed=0,
        model=_without_initializer(job.model),
        optimizer=replace(job.optimizer, hyperparameters=fixed),
        training=j.Training(epochs=0, **{name: getattr(job.training, name) for name in COMPILED_IN}),
    )


def _without_initializer(model: j.Model | j.CustomModel) -> j.Model | j.CustomModel:
    """Initial weights are given to a program; a custom model's own function says how they are drawn."""
    return replace(model, kernel_initializer="", kernel_stddev=None) if isinstance(model, j.Model) else model


def training_loss(training: j.Training) -> Callable[[Any, Any], Any]:
    """Keras's loss of each sample, (labels, outputs) -> (n,), as it is trained: without penalties, with label smoothing."""
    import keras

    if training.label_smoothing:
        return keras.losses.CategoricalCrossentropy(label_smoothing=training.label_smoothing, reduction="none")
    return plain_loss(training)


def plain_loss(training: j.Training) -> Callable[[Any, Any], Any]:
    """The loss of each sample, Keras's or one's own, as curves and figures show it."""
    import keras

    own = "." in training.loss
    found: Callable[[Any, Any], Any] = (
        own_code.load(training.loss, "training.loss") if own else keras.losses.get(training.loss)
    )
    return found


def steps_of(job: RunConfig, samples: int) -> int:
    """Batches in an epoch; the last one is smaller where the batch size does not divide the samples."""
    return -(-samples // job.training.batch_size)


def pads_last_batch(job: RunConfig, samples: int) -> bool:
    """Whether the smaller last batch is filled up with samples that do not count: a step of its own compiles for longer.

    Not where samples of a batch change what the others get, as a loss of one's own may, nor where there is no other batch.
    """
    batch, mixed = job.training.batch_size, networks.mixes_samples(job.model) or "." in job.training.loss
    return samples > batch and samples % batch > 0 and not mixed


def learning_rates(job: RunConfig, epoch: int, steps: int) -> np.ndarray:
    """float64 (steps,): the optimizer's learning rate in each step of `epoch` (from 0).

    The schedule begins after the warm-up, in which the rate rises linearly from 0, as in Keras's `CosineDecay`.
    """
    training, rate = job.training, float(job.optimizer["learning_rate"] or 0)
    warm_up = training.warmup_epochs * steps
    step = epoch * steps + np.arange(steps, dtype=np.float64)
    factors = schedules.factors(training, np.maximum(step - warm_up, 0), steps)
    return rate * np.where(step < warm_up, step / max(warm_up, 1), factors)


def curve(job: RunConfig, samples: int) -> np.ndarray | None:
    """int32, ascending: the training samples that the curve is measured on; None for all.

    Drawn, neither the first ones nor every fifth: writers are not spread evenly over MNIST. Of a network right on 99.3 %
    of all, every second image is right at 98.9 %, the others at 99.6 %.
    """
    count = job.training.curve_samples
    return randomness.sample(samples, count) if 0 < count < samples else None


def cost(job: RunConfig) -> float:
    """Work of a run, in no unit: what the order of jobs goes by."""
    return job.training.epochs * sum(job.hidden or (CUSTOM,)) + 1
