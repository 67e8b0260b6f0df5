"""The reference trainer: `keras.fit`, one run after the other. Slow and trusted; the engine is held against it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pipeline.config.digests import arrays_digest
from pipeline.config.run_config import RunConfig
from pipeline.data.arrays import Split
from pipeline.models import dense, optimizers, randomness
from pipeline.models.devices import Device
from pipeline.training.outcome import Done, Event, Run
from pipeline.training.shapes import curve, learning_rate

EVALUATION_BATCH = 1000


def train(jobs: Sequence[tuple[int, RunConfig]], split: Split, classes: int, device: Device) -> Iterator[Event]:
    """Train `jobs` (with their indices) on `split`, one by one, as `keras.fit` does it."""
    for index, job in jobs:
        run = Run(index, job, split.held_out)
        try:
            yield from _train_one(run, split, classes, device)
        except Exception as error:
            yield Done(index, run.failed(error), error)


def compiled_network(job: RunConfig, inputs: int, classes: int, device: Device) -> Any:
    """A compiled `keras.Model` with the initial weights of the job's seed."""
    import keras

    network = dense.build(job.model, inputs, classes, device.dtype)
    dense.set_initial(network, job.model, job.seed)
    network.compile(
        optimizer=optimizers.build(job.optimizer),
        loss=keras.losses.get(job.training.loss),
        metrics=["accuracy"],
        # Explicit: Keras's "auto" differs by device. JAX always compiles.
        jit_compile=device.xla and device.backend == "jax",
    )
    # Within `fit` it would be built where weights read as zeros: ScheduleFreeAdamW takes its start from them.
    network.optimizer.build(network.trainable_variables)
    return network


def _train_one(run: Run, split: Split, classes: int, device: Device) -> Iterator[Event]:
    job, eye = run.job, np.eye(classes, dtype=device.dtype if device.dtype == "float64" else "float32")
    x, y = np.asarray(split.train_images), eye[split.train_labels]
    held_out = np.asarray(split.held_out_images), eye[split.held_out_labels]
    part = curve(job, len(x)) if job.training.curve_samples else slice(None)
    network = compiled_network(job, x.shape[1], classes, device)
    run.digests["initial_weights"] = arrays_digest(dense.weights(network))
    for epoch in range(job.training.epochs):
        order = run.in_order(randomness.order(job.seed, epoch, len(x)))
        if job.training.decay_epochs:
            network.optimizer.learning_rate = learning_rate(job, epoch)
        before = time.perf_counter()
        fit = network.fit(x[order], y[order], batch_size=job.training.batch_size, shuffle=False, verbose=0).history
        run.train_seconds += time.perf_counter() - before
        train = _evaluate(network, x[part], y[part])
        held = _evaluate(network, *held_out)
        yield run.add_epoch(
            {
                "running/loss": fit["loss"][0],
                "running/accuracy": fit["accuracy"][0],
                "train/loss": train[0],
                "train/accuracy": train[1],
                f"{split.held_out}/loss": held[0],
                f"{split.held_out}/accuracy": held[1],
            }
        )
        if reason := run.non_finite:
            yield Done(run.index, run.diverged(reason))
            return
        if run.patience_ended:
            break
    test_images, test_labels = np.asarray(split.test_images), eye[split.test_labels]
    test = _evaluate(network, test_images, test_labels)
    probabilities = network.predict(test_images, batch_size=EVALUATION_BATCH, verbose=0)
    train = _evaluate(network, x, y)
    yield Done(run.index, run.finished(split, train, held, test, probabilities, dense.weights(network)))


def _evaluate(network: Any, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    loss, accuracy = network.evaluate(x, y, batch_size=EVALUATION_BATCH, verbose=0)
    return float(loss), float(accuracy)
