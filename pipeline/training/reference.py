"""The reference trainer: `keras.fit`, one run after another. It is slow; tests compare the engine with it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pipeline.config.digests import arrays_digest
from pipeline.config.run_config import RunConfig
from pipeline.models import networks, optimizers, randomness
from pipeline.models.devices import Device
from pipeline.training.checkpoints import Checkpoints, Saving
from pipeline.training.outcome import Done, Event, Prune, Run, never_prune
from pipeline.training.shapes import curve, learning_rates, plain_loss, steps_of
from pipeline.training.splits import Split

EVALUATION_BATCH = 1000
PLAIN = "plain_loss"


def train(
    jobs: Sequence[tuple[int, RunConfig]],
    split: Split,
    classes: int,
    device: Device,
    checkpoints: Checkpoints,
    prune: Prune = never_prune,
) -> Iterator[Event]:
    """Train `jobs`, given as (index, job), on `split` with `keras.fit`, one by one."""
    for index, job in jobs:
        run = Run(index, job, split, prune)
        try:
            yield from _train_one(run, classes, device, checkpoints)
        except Exception as error:
            yield Done(index, run.failed(error), error)


def compiled_network(job: RunConfig, shape: tuple[int, ...], classes: int, device: Device) -> Any:
    """Return a compiled `keras.Model` with the initial weights for the job's seed."""
    import keras

    network = networks.build(job.model, shape, classes, device.dtype)
    networks.set_initial(network, job.model, job.seed)
    loss: Any = plain_loss(job.training)
    if job.training.label_smoothing:
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=job.training.label_smoothing)
    network.compile(
        optimizer=optimizers.build(job.optimizer, job.training.clip_norm),
        loss=loss,
        # The loss in curves and metrics: without penalties and label smoothing.
        metrics=["accuracy", keras.metrics.MeanMetricWrapper(plain_loss(job.training), name=PLAIN)],
        # Explicit, since Keras's "auto" differs by device. JAX always compiles.
        jit_compile=device.xla and device.backend == "jax",
    )
    # If `fit` built it, weights would read as zeros, and ScheduleFreeAdamW starts from them.
    network.optimizer.build(network.trainable_variables)
    return network


def _train_one(run: Run, classes: int, device: Device, checkpoints: Checkpoints) -> Iterator[Event]:
    job, split, eye = (
        run.job,
        run.split,
        np.eye(classes, dtype=device.dtype if device.dtype == "float64" else "float32"),
    )
    x, held_out, test = (part.images for part in (split.train, split.held_out, split.test))
    y, held_out_y, test_y = (eye[part.labels] for part in (split.train, split.held_out, split.test))
    part = curve(job, len(x))
    on_curve = (x, y) if part is None else (x[part], y[part])
    network = compiled_network(job, split.shape, classes, device)
    run.digests["initial_weights"] = arrays_digest(networks.weights(network))
    saving = Saving(checkpoints)
    variables = [*network.variables, *network.optimizer.variables]
    if found := checkpoints.load(run.index):
        run.resume(found.progress)
        for variable, array in zip(variables, found.arrays, strict=True):
            variable.assign(array)
    while not run.ended:
        order = run.note_order(randomness.order(job.seed, run.trained, len(x)))
        rates = learning_rates(job, run.trained, steps_of(job, len(x)))
        before = time.perf_counter()
        network.optimizer.learning_rate = rates[0]
        fit = network.fit(
            x[order],
            y[order],
            batch_size=job.training.batch_size,
            shuffle=False,
            verbose=0,
            callbacks=[_each_step(rates)] if np.ptp(rates) else [],
        ).history
        run.train_seconds += time.perf_counter() - before
        scores = None
        if run.point_is_next:
            scores = [*_evaluate(network, *on_curve), *_evaluate(network, held_out, held_out_y)]
        if event := run.add_epoch([fit["loss"][0], fit["accuracy"][0]], scores):
            yield event
        saving.save([run], lambda _: [np.asarray(variable) for variable in variables])
    if unfinished := run.unfinished_result():
        yield Done(run.index, unfinished)
        return
    on_train, on_test = _evaluate(network, x, y), _evaluate(network, test, test_y)
    probabilities = network.predict(test, batch_size=EVALUATION_BATCH, verbose=0)
    watched = None
    if run.needs_held_out_probabilities:
        watched = network.predict(held_out, batch_size=EVALUATION_BATCH, verbose=0)
    yield Done(run.index, run.finished_result(on_train, on_test, probabilities, networks.weights(network), watched))


def _each_step(rates: np.ndarray) -> Any:
    """Return a Keras callback that sets the learning rate of each step of an epoch."""
    import keras

    class EachStep(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.model.optimizer.learning_rate = rates[batch]

    return EachStep()


def _evaluate(network: Any, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    found = network.evaluate(x, y, batch_size=EVALUATION_BATCH, verbose=0, return_dict=True)
    return float(found[PLAIN]), float(found["accuracy"])
