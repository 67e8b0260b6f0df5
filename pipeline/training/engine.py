"""The engine: many runs at the speed of the machine, with Keras's own networks, losses and optimizers.

An epoch, with the curve that follows it, is one call of one compiled program over an order of samples; the data lies
on the device once; a CPU runs one single-threaded program per core. A program is shared by all runs of one
shape: weights, optimizer state, learning rate and weight decay are variables, assigned before each run.
A run's bits depend on nothing but itself: not on the number of workers, nor on what else trains beside it.
"""

from __future__ import annotations

import ctypes
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from pipeline.config.digests import arrays_digest
from pipeline.config.run_config import RunConfig
from pipeline.data.arrays import Split, let_go
from pipeline.models import compiled, dense, optimizers, randomness
from pipeline.models.devices import Device
from pipeline.training.outcome import Done, Event, Run
from pipeline.training.shapes import CHUNK, cost, curve, learning_rate, shape_of


class Samples:
    """The data on the device, once for all programs: float32 pixels and one-hot labels of all three splits."""

    def __init__(self, split: Split, classes: int) -> None:
        import tensorflow as tf

        eye = np.eye(classes, dtype=np.float32)

        def held(images: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
            # Variables, not constants: a program that captures data as a constant compiles for half a minute.
            return tf.Variable(images, trainable=False), tf.Variable(eye[labels], trainable=False)

        self.train = held(split.train_images, split.train_labels)
        self.test = held(split.test_images, split.test_labels)
        self.held_out = held(split.held_out_images, split.held_out_labels) if split.held_out == "val" else self.test
        self.sizes = [tuple(split.train_images.shape), tuple(split.held_out_images.shape), len(split.test_images)]
        for images in (split.train_images, split.test_images):
            let_go(images)


class Network:
    """A Keras network with its loss, and the compiled measurement of it: shared by all optimizers that train it."""

    def __init__(self, shape: RunConfig, samples: Samples, classes: int, device: Device) -> None:
        import keras
        import tensorflow as tf

        self.samples = samples
        self.model = dense.build(shape.model, samples.train[0].shape[1], classes, device.dtype, device.xla)
        self.loss = keras.losses.get(shape.training.loss)
        self.dtype = tf.as_dtype(device.dtype if device.dtype == "float64" else "float32")
        self.measure = tf.function(self._measure, jit_compile=device.xla, autograph=False).get_concrete_function()

    def right(self, y: Any, outputs: Any) -> Any:
        """How many of the samples get their own class."""
        import tensorflow as tf

        return tf.reduce_sum(tf.cast(tf.argmax(outputs, 1) == tf.argmax(y, 1), self.dtype))

    def score(self, images: Any, labels: Any, part: np.ndarray | None = None) -> Any:
        """(mean loss, accuracy) on all samples, or on the `part` of these indices; weights fixed, inference mode."""
        import tensorflow as tf

        count = int(images.shape[0]) if part is None else len(part)
        full, rest = divmod(count, CHUNK)

        def on(chosen: Any, size: int) -> tuple[Any, Any]:
            # Gathered, not sliced: for a slice XLA lays the whole array out anew before the loop (28 ms of 40).
            chosen = chosen if part is None else tf.gather(part, chosen)
            x, y = (tf.cast(tf.gather(array, chosen), self.dtype) for array in (images, labels))
            outputs = self.model(x, training=False)
            return tf.cast(tf.reduce_mean(self.loss(y, outputs)), self.dtype) * size, self.right(y, outputs)

        def body(chunk: Any, loss: Any, right: Any) -> Any:
            more = on(chunk * CHUNK + tf.range(CHUNK), CHUNK)
            return chunk + 1, loss + more[0], right + more[1]

        loss = right = tf.zeros((), self.dtype)
        if full:
            _, loss, right = tf.while_loop(lambda chunk, loss, right: chunk < full, body, [0, loss, right])
        if rest:
            more = on(full * CHUNK + tf.range(rest), rest)
            loss, right = loss + more[0], right + more[1]
        return tf.stack([loss, right]) / count

    def _measure(self) -> tuple[Any, Any]:
        """(loss, accuracy) on all training, held-out and test samples: six numbers; and the test probabilities."""
        import tensorflow as tf

        images = self.samples.test[0]
        full, rest = divmod(int(images.shape[0]), CHUNK)
        scores = [self.score(*samples) for samples in (self.samples.train, self.samples.held_out, self.samples.test)]
        parts = []
        if full:
            stacked = tf.map_fn(
                lambda chunk: self.model(
                    tf.cast(tf.gather(images, chunk * CHUNK + tf.range(CHUNK)), self.dtype), training=False
                ),
                tf.range(full),
                fn_output_signature=self.dtype,
            )
            parts.append(tf.reshape(stacked, (full * CHUNK, -1)))
        if rest:
            parts.append(self.model(tf.cast(images[full * CHUNK :], self.dtype), training=False))
        return tf.concat(scores, 0), tf.concat(parts, 0)


class Program:
    """The compiled training of one shape of network, optimizer and batch, with the variables it trains."""

    compiled = 0
    """Programs compiled by this process so far."""

    _building = threading.Lock()

    def __init__(
        self,
        shape: RunConfig,
        samples: Samples,
        classes: int,
        device: Device,
        networks: dict[Any, Network] | None = None,
    ) -> None:
        import tensorflow as tf

        self.shape, self.samples = shape, samples
        networks = {} if networks is None else networks
        with Program._building:
            like = (shape.model, shape.training.loss)
            if like not in networks:
                with compiled.stable_names(f"{like} {samples.sizes} {device}"):
                    networks[like] = Network(shape, samples, classes, device)
            self.network = networks[like]
            self.model, self.loss, self.dtype = self.network.model, self.network.loss, self.network.dtype
            self.start = optimizers.Start(shape.optimizer, self.model.trainable_variables)
            self.optimizer = optimizers.build(shape.optimizer)
            self.optimizer.build(self.model.trainable_variables)
            if self.optimizer.weight_decay is not None:
                self.weight_decay = tf.Variable(1.0, dtype=self.model.trainable_variables[0].dtype, trainable=False)
                self.optimizer.weight_decay = self.weight_decay
            epoch = tf.function(self._epoch, jit_compile=device.xla, autograph=False)
            order = tf.TensorSpec((int(samples.train[0].shape[0]),), tf.int32)
            with compiled.stable_names(f"{shape} {samples.sizes} {device}"):
                self.epoch = epoch.get_concrete_function(order, tf.TensorSpec((), tf.int32))
            Program.compiled += 1
        # Compiles here, where other workers can compile too, and not within the first run's seconds.
        self.epoch(tf.zeros(order.shape, tf.int32), tf.constant(0))
        _trim()

    def reset(self, job: RunConfig) -> None:
        """Put the variables where `job` starts: its initial weights, a fresh optimizer, its learning rate."""
        dense.set_initial(self.model, job.model, job.seed)
        start = self.start.values(job.optimizer, self.model.trainable_variables)
        for variable, value in zip(self.optimizer.variables, start, strict=True):
            variable.assign(value.astype(variable.dtype))
        if self.optimizer.weight_decay is not None:
            self.weight_decay.assign(job.optimizer["weight_decay"])

    @property
    def steps(self) -> int:
        """Full batches in an epoch; a smaller last one follows where the batch size does not divide the samples."""
        return int(self.samples.train[0].shape[0]) // self.shape.training.batch_size

    def _epoch(self, order: Any, full: Any) -> Any:
        """One pass over the training samples in this order (`full` batches and the rest), then the curve: six numbers.

        Running loss and accuracy, then (loss, accuracy) on the training samples of the curve and on the held-out split.
        """
        import tensorflow as tf

        images, labels = self.samples.train
        batch = self.shape.training.batch_size
        rest = int(images.shape[0]) % batch

        def body(step: Any, loss: Any, right: Any) -> Any:
            chosen = tf.slice(order, [step * batch], [batch])
            more = self._step(tf.gather(images, chosen), tf.gather(labels, chosen))
            return step + 1, loss + more[0] * batch, right + more[1]

        zero = tf.zeros((), self.dtype)
        _, loss, right = tf.while_loop(lambda step, loss, right: step < full, body, [0, zero, zero])
        if rest:
            chosen = order[-rest:]
            more = self._step(tf.gather(images, chosen), tf.gather(labels, chosen))
            loss, right = loss + more[0] * rest, right + more[1]
        part = curve(self.shape, int(images.shape[0])) if self.shape.training.curve_samples else None
        running = tf.stack([loss, right]) / int(images.shape[0])
        return tf.concat(
            [running, self.network.score(*self.samples.train, part), self.network.score(*self.samples.held_out)], 0
        )

    def _step(self, x: Any, y: Any) -> tuple[Any, Any]:
        import tensorflow as tf

        x, y = tf.cast(x, self.dtype), tf.cast(y, self.dtype)
        with tf.GradientTape() as tape:
            outputs = self.model(x, training=True)
            loss = tf.reduce_mean(self.loss(y, outputs))
        self.optimizer.apply(tape.gradient(loss, self.model.trainable_variables))
        return tf.cast(loss, self.dtype), self.network.right(y, outputs)


def train(
    jobs: Sequence[tuple[int, RunConfig]],
    split: Split,
    classes: int,
    device: Device,
    stop: threading.Event | None = None,
) -> Iterator[Event]:
    """Train `jobs` (with their indices), on `device.workers` threads; events come as they happen.

    Closing the generator, or setting `stop`, ends every worker at its next epoch.
    """
    if not jobs:
        return
    samples = Samples(split, classes)
    share = _Share(jobs)
    events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
    stop = stop or threading.Event()
    count = min(device.workers, len(jobs))

    def work() -> None:
        programs: dict[RunConfig, Program] = {}
        networks: dict[Any, Network] = {}
        try:
            while not stop.is_set() and (taken := share.take(programs)):
                index, job = taken
                run = Run(index, job, split.held_out)
                try:
                    shape = shape_of(job)
                    if shape not in programs:
                        # One at a time: a worker comes back to an earlier shape only to help another one out.
                        programs.clear()
                        programs[shape] = Program(shape, samples, classes, device, networks)
                    _train_one(run, programs[shape], split, events.put, stop)
                except Exception as error:
                    events.put(Done(index, run.failed(error), error))
        finally:
            events.put(None)

    workers = [threading.Thread(target=work, name=f"engine-{n}", daemon=True) for n in range(count)]
    for worker in workers:
        worker.start()
    try:
        while count:
            event = events.get()
            if event is None:
                count -= 1
            else:
                yield event
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def _train_one(run: Run, program: Program, split: Split, put: Callable[[Event], None], stop: threading.Event) -> None:
    job = run.job
    program.reset(job)
    run.digests["initial_weights"] = arrays_digest(dense.weights(program.model))
    for epoch in range(job.training.epochs):
        if stop.is_set():
            return
        order = run.in_order(randomness.order(job.seed, epoch, len(split.train_images)))
        if job.training.decay_epochs:
            program.optimizer.learning_rate = learning_rate(job, epoch)
        before = time.perf_counter()
        numbers = program.epoch(*_constants(order, program.steps)).numpy()
        run.train_seconds += time.perf_counter() - before
        put(run.add_epoch(run.metrics_of(numbers)))
        if reason := run.non_finite:
            put(Done(run.index, run.diverged(reason)))
            return
        if run.patience_ended:
            break
    scores, probabilities = program.network.measure()
    result = run.measured(split, scores.numpy().tolist(), probabilities.numpy(), dense.weights(program.model))
    put(Done(run.index, result))


def _trim() -> None:
    """Hand memory that compiling needed back to the system, where the C library can (4 MB a program)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _constants(*values: Any) -> list[Any]:
    import tensorflow as tf

    return [tf.constant(value, tf.int32) for value in values]


class _Share:
    """Jobs grouped by shape. A worker stays with its shape, then takes the dearest one that nobody has, then helps out."""

    def __init__(self, jobs: Sequence[tuple[int, RunConfig]]) -> None:
        self._lock = threading.Lock()
        self._groups: dict[RunConfig, deque[tuple[int, RunConfig]]] = {}
        for index, job in jobs:
            self._groups.setdefault(shape_of(job), deque()).append((index, job))
        self._open = sorted(self._groups, key=lambda s: -len(self._groups[s]) * cost(self._groups[s][0][1]))

    def take(self, programs: dict[RunConfig, Program]) -> tuple[int, RunConfig] | None:
        """The next job for a worker that has `programs` compiled, or None when all are taken."""
        with self._lock:
            for shape in programs:
                if self._groups.get(shape):
                    return self._groups[shape].popleft()
            while self._open:
                shape = self._open.pop(0)
                if self._groups[shape]:
                    return self._groups[shape].popleft()
            left = [group for group in self._groups.values() if group]
            if not left:
                return None
            return max(left, key=lambda group: len(group) * cost(group[0][1])).pop()
