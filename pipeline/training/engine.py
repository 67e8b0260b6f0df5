"""The engine: trains many runs with compiled programs of Keras's networks, losses and optimizers.

An epoch is one call of a compiled program, and a point of the curve is one call of another. The device holds the data once.
A CPU runs one single-threaded program per core. All runs of one shape share a program: weights, optimizer state, learning
rates and weight decay are variables or inputs, set before each run or epoch. The bits of a run depend neither on the number
of workers nor on the runs that train at the same time.
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
from pipeline.data.memory import release_memory
from pipeline.models import networks, optimizers, randomness
from pipeline.models.devices import Device
from pipeline.training.checkpoints import Checkpoints, NoCheckpoints, Saving
from pipeline.training.outcome import Done, Event, Prune, Run, never_prune
from pipeline.training.shapes import (
    CHUNK,
    cost,
    curve,
    learning_rates,
    pads_last_batch,
    plain_loss,
    shape_of,
    steps_of,
    training_loss,
)
from pipeline.training.splits import Split


class Samples:
    """The data on the device, shared by all programs: float32 pixels and one-hot labels, the three parts concatenated."""

    def __init__(self, split: Split, classes: int) -> None:
        import tensorflow as tf

        has_held_out = split.held_out_name == "val"
        parts = [split.train, *([split.held_out] if has_held_out else []), split.test]
        self.shape = split.shape
        self.labels = np.concatenate([part.labels for part in parts])
        # Variables: a program that captures the data as a constant takes half a minute to compile.
        self.x = tf.Variable(np.concatenate([part.images for part in parts]), trainable=False)
        self.y = tf.Variable(np.eye(classes, dtype=np.float32)[self.labels], trainable=False)
        ends = np.cumsum([len(part) for part in parts])
        self.train, *held_out, self.test = (
            np.arange(end - len(part), end) for part, end in zip(parts, ends, strict=True)
        )
        """Indices of each part."""
        self.held_out = held_out[0] if held_out else self.test
        for part in (split.train, split.test):
            release_memory(part.source)


class Network:
    """A Keras network and its compiled evaluation, shared by all optimizers that train it."""

    def __init__(self, shape: RunConfig, samples: Samples, classes: int, device: Device) -> None:
        import tensorflow as tf

        self.samples, self.classes = samples, classes
        self.model = networks.build(shape.model, samples.shape, classes, device.dtype, device.xla)
        self.loss = plain_loss(shape.training)
        self.dtype = tf.as_dtype(device.dtype if device.dtype == "float64" else "float32")
        part = curve(shape, len(samples.train))
        self._curve = samples.train if part is None else samples.train[part]
        self._for_metrics = bool(shape.training.metrics) and samples.held_out is not samples.test
        self._chunks = -(-len(samples.labels) // CHUNK)
        evaluate = tf.function(self._evaluate, jit_compile=device.xla, autograph=False)
        self._compiled = evaluate.get_concrete_function(
            tf.TensorSpec((self._chunks, CHUNK), tf.int32), tf.TensorSpec((), tf.int32)
        )

    def curve(self) -> list[float]:
        """Return (loss, accuracy) on the training samples of the curve and on all held-out samples: four numbers."""
        return self._scores(self._curve, self.samples.held_out)[0]

    def measure(self) -> tuple[list[float], list[np.ndarray]]:
        """Return (loss, accuracy) on all training and all test samples, four numbers, and the test probabilities.

        The probabilities of the held-out samples follow if metrics need them.
        """
        watched = [self.samples.held_out] if self._for_metrics else []
        scores, probabilities = self._scores(self.samples.train, self.samples.test, *watched)
        return scores[:4], probabilities[1:]

    def _scores(self, *parts: np.ndarray) -> tuple[list[float], list[np.ndarray]]:
        """Return mean loss and accuracy of each part, concatenated, and the probabilities (n, classes) of each part."""
        chosen = np.concatenate(parts)
        indices = np.zeros((self._chunks, CHUNK), np.int32)
        indices.ravel()[: len(chosen)] = chosen
        found = self._compiled(indices, np.int32(-(-len(chosen) // CHUNK)))
        losses, probabilities = (array.numpy()[: len(chosen)] for array in found)
        right = probabilities.argmax(axis=1) == self.samples.labels[chosen]
        ends = np.cumsum([len(part) for part in parts])[:-1]
        means = zip(*(np.split(array, ends) for array in (losses, right)), strict=True)
        scores = [float(each.mean(dtype=np.float64)) for pair in means for each in pair]
        return scores, np.split(probabilities, ends)

    def _evaluate(self, indices: Any, chunks: Any) -> tuple[Any, Any]:
        """Return loss and probabilities of the samples in the first `chunks` rows of `indices`, in inference mode.

        One program serves all parts of the data, since each takes half a second to compile.
        """
        import tensorflow as tf

        def on(chunk: Any, losses: Any, outputs: Any) -> tuple[Any, ...]:
            # Gathered: before a loop with slices XLA copies the whole array to another layout (28 ms of 40).
            x, y = (tf.cast(tf.gather(array, indices[chunk]), self.dtype) for array in (self.samples.x, self.samples.y))
            found = self.model(x, training=False)
            loss = tf.cast(self.loss(y, found), self.dtype)
            return chunk + 1, losses.write(chunk, loss), outputs.write(chunk, tf.cast(found, self.dtype))

        arrays = [
            tf.TensorArray(self.dtype, self._chunks, element_shape=(CHUNK, *rest)) for rest in ((), (self.classes,))
        ]
        _, losses, outputs = tf.while_loop(lambda chunk, *_: chunk < chunks, on, [0, *arrays])
        return tf.reshape(losses.stack(), [-1]), tf.reshape(outputs.stack(), (-1, self.classes))


class Program:
    """The compiled training for one shape of network, optimizer and batch, and the variables it trains."""

    compiled = 0
    """Number of programs that this process has compiled."""

    _building = threading.Lock()

    def __init__(
        self,
        shape: RunConfig,
        samples: Samples,
        classes: int,
        device: Device,
        built: dict[Any, Network] | None = None,
    ) -> None:
        import tensorflow as tf

        self.shape, self.samples = shape, samples
        self.count, self.batch = len(samples.train), shape.training.batch_size
        self.steps = steps_of(shape, self.count)
        self.pads_last_batch = pads_last_batch(shape, self.count)
        built = {} if built is None else built
        with Program._building:
            network_key = (shape.model, shape.training.loss, shape.training.curve_samples, shape.training.metrics)
            if network_key not in built:
                built[network_key] = Network(shape, samples, classes, device)
            self.network = built[network_key]
            self.model, self.dtype = self.network.model, self.network.dtype
            self.loss = training_loss(shape.training)
            self.initial_state = optimizers.InitialState(shape.optimizer, self.model.trainable_variables)
            self.optimizer = optimizers.build(shape.optimizer, shape.training.clip_norm)
            self.optimizer.build(self.model.trainable_variables)
            if self.optimizer.weight_decay is not None:
                self.weight_decay = tf.Variable(1.0, dtype=self.model.trainable_variables[0].dtype, trainable=False)
                self.optimizer.weight_decay = self.weight_decay
            epoch = tf.function(self._epoch, jit_compile=device.xla, autograph=False)
            order = tf.TensorSpec((self.count,), tf.int32)
            rates = tf.TensorSpec((self.steps,), self.optimizer.learning_rate.dtype)
            self._compiled = epoch.get_concrete_function(order, rates, tf.TensorSpec((), tf.int32))
            Program.compiled += 1
        # Compile here: other workers can compile at the same time, and the first run's time does not include it.
        self.epoch(np.zeros(self.count), np.zeros(self.steps), steps=0)
        _trim()

    def reset(self, job: RunConfig) -> None:
        """Set the variables for the start of `job`: initial weights, optimizer state and weight decay."""
        networks.set_initial(self.model, job.model, job.seed)
        initial = self.initial_state.values(job.optimizer, self.model.trainable_variables)
        for variable, value in zip(self.optimizer.variables, initial, strict=True):
            variable.assign(value.astype(variable.dtype))
        if self.optimizer.weight_decay is not None:
            self.weight_decay.assign(job.optimizer["weight_decay"])

    def state(self) -> list[np.ndarray]:
        """Return everything that training changes: variables of network (dropout states included) and optimizer."""
        return [np.array(variable) for variable in self._variables()]

    def restore(self, arrays: Sequence[np.ndarray]) -> None:
        """Set the variables to what `state` returned."""
        for variable, array in zip(self._variables(), arrays, strict=True):
            variable.assign(array)

    def _variables(self) -> list[Any]:
        return [*self.model.variables, *self.optimizer.variables]

    def epoch(self, order: np.ndarray, rates: np.ndarray, steps: int | None = None) -> np.ndarray:
        """Train on the samples in this order, with a learning rate per step, and return the running (loss, accuracy).

        `steps` defaults to a whole epoch. The last batch is smaller if the batch size does not divide the samples.
        """
        import tensorflow as tf

        steps = self.steps if steps is None else steps
        inputs = (tf.constant(order, tf.int32), tf.constant(rates, self.optimizer.learning_rate.dtype))
        return np.asarray(self._compiled(*inputs, tf.constant(steps)))

    def _epoch(self, order: Any, rates: Any, steps: Any) -> Any:
        import tensorflow as tf

        rest = self.count % self.batch
        full_steps = self.steps if self.pads_last_batch or not rest else self.steps - 1
        if self.pads_last_batch:
            order = tf.concat([order, order[: self.batch - rest]], 0)

        def step(number: Any, size: int) -> Any:
            chosen = tf.slice(order, [number * self.batch], [size])
            self.optimizer.learning_rate.assign(tf.gather(rates, number))
            x, y = (tf.cast(tf.gather(array, chosen), self.dtype) for array in (self.samples.x, self.samples.y))
            mask = tf.cast(number * self.batch + tf.range(size) < self.count, self.dtype)
            return self._step(x, y, mask if self.pads_last_batch else tf.ones(size, self.dtype))

        _, total = tf.while_loop(
            lambda number, total: number < tf.minimum(steps, full_steps),
            lambda number, total: (number + 1, total + step(number, self.batch)),
            [0, tf.zeros(2, self.dtype)],
        )
        if full_steps < self.steps:
            total += step(self.steps - 1, rest)
        return total / self.count

    def _step(self, x: Any, y: Any, mask: Any) -> Any:
        """One update. Of this batch, (loss times its size, correct ones); `mask` is 1 for a sample and 0 for padding."""
        import tensorflow as tf

        size = tf.reduce_sum(mask)
        with tf.GradientTape() as tape:
            outputs = self.model(x, training=True)
            losses = self.loss(y, outputs)
            mean = tf.reduce_sum(losses * tf.cast(mask, losses.dtype)) / tf.cast(size, losses.dtype)
            loss = tf.add_n([mean, *self.model.losses])
        self.optimizer.apply(tape.gradient(loss, self.model.trainable_variables))
        right = tf.cast(tf.argmax(outputs, 1) == tf.argmax(y, 1), self.dtype)
        return tf.stack([tf.cast(loss, self.dtype) * size, tf.reduce_sum(right * mask)])


def train(
    jobs: Sequence[tuple[int, RunConfig]],
    split: Split,
    classes: int,
    device: Device,
    checkpoints: Checkpoints | None = None,
    stop: threading.Event | None = None,
    prune: Prune = never_prune,
) -> Iterator[Event]:
    """Train `jobs`, given as (index, job), on `device.workers` threads and yield their events.

    Closing the generator or setting `stop` ends every worker at its next epoch.
    """
    if not jobs:
        return
    samples = Samples(split, classes)
    share = _JobQueue(jobs)
    events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
    stop = stop or threading.Event()
    count = min(device.workers, len(jobs))

    def work() -> None:
        programs: dict[RunConfig, Program] = {}
        built: dict[Any, Network] = {}
        try:
            while not stop.is_set() and (taken := share.take(programs)):
                index, job = taken
                run = Run(index, job, split, prune)
                try:
                    shape = shape_of(job)
                    if shape not in programs:
                        # Keep one program: a worker returns to an earlier shape only to help another worker.
                        programs.clear()
                        programs[shape] = Program(shape, samples, classes, device, built)
                    _train_one(run, programs[shape], events.put, stop, checkpoints or NoCheckpoints())
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


def _train_one(
    run: Run, program: Program, put: Callable[[Event], None], stop: threading.Event, checkpoints: Checkpoints
) -> None:
    job, saving = run.job, Saving(checkpoints)
    program.reset(job)
    run.digests["initial_weights"] = arrays_digest(networks.weights(program.model))
    if found := checkpoints.load(run.index):
        program.restore(found.arrays)
        run.resume(found.progress)
    while not run.ended:
        saving.save([run], lambda _: program.state(), stopped=stop.is_set())
        if stop.is_set():
            return
        order = run.note_order(randomness.order(job.seed, run.trained, len(run.split.train)))
        rates = learning_rates(job, run.trained, program.steps)
        before = time.perf_counter()
        running = program.epoch(order, rates)
        run.train_seconds += time.perf_counter() - before
        if event := run.add_epoch(running, program.network.curve() if run.point_is_next else None):
            put(event)
    if unfinished := run.unfinished_result():
        put(Done(run.index, unfinished))
        return
    scores, probabilities = program.network.measure()
    weights = networks.weights(program.model)
    put(Done(run.index, run.finished_result(scores[:2], scores[2:], probabilities[0], weights, *probabilities[1:])))


def _trim() -> None:
    """Return memory used for compiling to the system, if the C library can (4 MB per program)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class _JobQueue:
    """Jobs grouped by shape. A worker finishes its shape, then takes the most expensive free one, then helps others."""

    def __init__(self, jobs: Sequence[tuple[int, RunConfig]]) -> None:
        self._lock = threading.Lock()
        self._groups: dict[RunConfig, deque[tuple[int, RunConfig]]] = {}
        for index, job in jobs:
            self._groups.setdefault(shape_of(job), deque()).append((index, job))
        self._open = sorted(self._groups, key=lambda s: -len(self._groups[s]) * cost(self._groups[s][0][1]))

    def take(self, programs: dict[RunConfig, Program]) -> tuple[int, RunConfig] | None:
        """Return the next job for a worker that has compiled `programs`, or None if none is left."""
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
