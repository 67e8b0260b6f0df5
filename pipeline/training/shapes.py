"""What the engines of both backends share: which runs can share a compiled program."""

from __future__ import annotations

from dataclasses import replace

from pipeline.config.job import Job

CHUNK = 1000
"""Samples evaluated at once: their activations fit the cache (measured best of 100 to 4,000 at width 512)."""

INPUTS = ("learning_rate", "weight_decay")
"""Hyper-parameters that are variables of a program. The others are burnt into it, as exact as Keras computes them."""


def shape_of(job: Job) -> Job:
    """What a program is compiled for: the job without all that is a variable of the program or that it never sees."""
    fixed = tuple((n, v if n not in INPUTS or v is None else 1.0) for n, v in job.optimizer.hyperparameters)
    return replace(
        job,
        seed=0,
        model=replace(job.model, kernel_initializer=""),
        optimizer=replace(job.optimizer, hyperparameters=fixed),
        training=replace(job.training, epochs=0, decay=1.0, decay_epochs=0, patience=0),
    )


def cost(job: Job) -> float:
    """Work of a run, in no unit: what the order of jobs goes by."""
    return job.training.epochs * sum(job.model.hidden) + 1
