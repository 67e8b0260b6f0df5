"""The engine: many runs at the speed of the machine, with Keras's own networks, losses and optimizers.

An epoch is one call of one compiled program over an order of samples, a point of the curve one call of another; the data lies
on the device once; a CPU runs one single-threaded program per core. A program is shared by all runs of one
shape: weights, optimizer state, learning rates and weight decay are variables or inputs, given before each run or epoch.
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
from pipeline.data.memory import let_go
from pipeline.models import networks, optimizers, randomness
from pipeline.models.devices import Device
from pipeline.training.checkpoints import Checkpoints, NoCheckpoints, Saving
from pipeline.training.outcome import Done, Event, Prune, Run, never
from pipeline.training.shapes import (
    CHUNK,
    cost,
    curve,
    learning_rates,
    plain_loss,
    shape_of,
    steps_of,
    training_loss,
)
from pipeline.training.splits import Part, Split


class Samples:
    """The data on the device, once for all programs: float32 pixels and one-hot labels of all three parts."""

    def __init__(self, split: Split, classes: int) -> None:
        import tensorflow as tf

        eye = np.eye(classes, dtype=np.float32)

        def held(part: Part) -> tuple[Any, Any]:
            # Variables, not constants: a program that captures data as a constant compiles for half a minute.
            return tf.Variable(part.images, trainable=False), tf.Variable(eye[part.labels], trainable=False)

        self.shape = split.shape
        self.train = held(split.train)
        self.test = held(split.test)
        self.has_held_out = split.held_out_name == "val"
        self.held_out = held(split.held_out) if self.has_held_out else self.test
        for part in (split.train, split.test):
            let_go(part.source)


class Network:
    """A Keras network and the compiled measurements of it: shared by all optimizers that train it."""

    def __init__(self, shape: RunConfig, samples: Samples, classes: int, device: Device) -> None:
        import tensorflow as tf

        self.samples = samples
        self.model = networks.build(shape.model, samples.shape, classes, device.dtype, device.xla)
        self.loss = plain_loss(shape.training)
        self.dtype = tf.as_dtype(device.dtype if device.dtype == "float64" else "float32")
        self._part = curve(shape, int(samples.train[0].shape[0]))
        self._for_metrics = bool(shape.training.metrics) and samples.has_held_out
        self.curve, self.measure = (
            tf.function(measure, jit_compile=device.xla, autograph=False).get_concrete_function()
            for measure in (self._curve, self._measure)
        )

    def right(self, y: Any, outputs: Any) -> Any:
        """How many of the samples get their own class."""
        import tensorflow as tf

        return tf.reduce_sum(tf.cast(tf.argmax(outputs, 1) == tf.argmax(y, 1), self.dtype))

    def _curve(self) -> Any:
        """(loss, accuracy) on the training samples of the curve and on all held-out samples: four numbers."""
        import tensorflow as tf

        return tf.concat([self._score(self.samples.train, self._part)[0], self._score(self.samples.held_out)[0]], 0)

    def _measure(self) -> tuple[Any, ...]:
        """(loss, accuracy) on all training and test samples: four numbers; and the test probabilities.

        Also the held-out probabilities, where there are metrics of them.
        """
        import tensorflow as tf

        (train, _), (test, probabilities) = self._score(self.samples.train), self._score(self.samples.test, keep=True)
        watched = [self._score(self.samples.held_out, keep=True)[1]] if self._for_metrics else []
        return tf.concat([train, test], 0), probabilities, *watched

    def _score(self, data: tuple[Any, Any], part: np.ndarray | None = None, keep: bool = False) -> tuple[Any, Any]:
        """[mean loss, accuracy] on all samples, or on the `part` of these indices; weights fixed, inference mode.

        With the probabilities if they are to be kept, else with None.
        """
        import tensorflow as tf

        count = int(data[0].shape[0]) if part is None else len(part)
        full, rest = divmod(count, CHUNK)

        def on(chosen: Any, size: int) -> tuple[Any, ...]:
            # Gathered, not sliced: for a slice XLA lays the whole array out anew before the loop (28 ms of 40).
            chosen = chosen if part is None else tf.gather(part, chosen)
            x, y = (tf.cast(tf.gather(array, chosen), self.dtype) for array in data)
            outputs = self.model(x, training=False)
            loss = tf.cast(tf.reduce_mean(self.loss(y, outputs)), self.dtype) * size
            return (tf.stack([loss, self.right(y, outputs)]), *((tf.cast(outputs, self.dtype),) if keep else ()))

        total, outputs = tf.zeros(2, self.dtype), []
        if full:
            signature = (self.dtype,) * (2 if keep else 1)
            sums, *kept = tf.map_fn(
                lambda chunk: on(chunk * CHUNK + tf.range(CHUNK), CHUNK), tf.range(full), fn_output_signature=signature
            )
            total, outputs = tf.reduce_sum(sums, 0), [tf.reshape(array, (full * CHUNK, -1)) for array in kept]
        if rest:
            sums, *kept = on(full * CHUNK + tf.range(rest), rest)
            total, outputs = total + sums, [*outputs, *kept]
        return total / count, tf.concat(outputs, 0) if keep else None


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
        built: dict[Any, Network] | None = None,
    ) -> None:
        import tensorflow as tf

        self.shape, self.samples = shape, samples
        count = int(samples.train[0].shape[0])
        self.steps = steps_of(shape, count)
        built = {} if built is None else built
        with Program._building:
            like = (shape.model, shape.training.loss, shape.training.curve_samples, shape.training.metrics)
            if like not in built:
                built[like] = Network(shape, samples, classes, device)
            self.network = built[like]
            self.model, self.dtype = self.network.model, self.network.dtype
            self.loss = training_loss(shape.training)
            self.start = optimizers.Start(shape.optimizer, self.model.trainable_variables)
            self.optimizer = optimizers.build(shape.optimizer, shape.training.clip_norm)
            self.optimizer.build(self.model.trainable_variables)
            if self.optimizer.weight_decay is not None:
                self.weight_decay = tf.Variable(1.0, dtype=self.model.trainable_variables[0].dtype, trainable=False)
                self.optimizer.weight_decay = self.weight_decay
            epoch = tf.function(self._epoch, jit_compile=device.xla, autograph=False)
            order = tf.TensorSpec((count,), tf.int32)
            rates = tf.TensorSpec((self.steps,), self.optimizer.learning_rate.dtype)
            self._compiled = epoch.get_concrete_function(order, rates, tf.TensorSpec((), tf.int32))
            Program.compiled += 1
        # Compiles here, where other workers can compile too, and not within the first run's seconds.
        self.epoch(np.zeros(count), np.zeros(self.steps), full=0)
        _trim()

    def reset(self, job: RunConfig) -> None:
        """Put the variables where `job` starts: its initial weights, a fresh optimizer, its weight decay."""
        networks.set_initial(self.model, job.model, job.seed)
        start = self.start.values(job.optimizer, self.model.trainable_variables)
        for variable, value in zip(self.optimizer.variables, start, strict=True):
            variable.assign(value.astype(variable.dtype))
        if self.optimizer.weight_decay is not None:
            self.weight_decay.assign(job.optimizer["weight_decay"])

    def state(self) -> list[np.ndarray]:
        """All that training moves: variables of the network, dropout states included, and of the optimizer."""
        return [np.array(variable) for variable in self._variables()]

    def restore(self, arrays: Sequence[np.ndarray]) -> None:
        """Put the variables where `state` found them."""
        for variable, array in zip(self._variables(), arrays, strict=True):
            variable.assign(array)

    def _variables(self) -> list[Any]:
        return [*self.model.variables, *self.optimizer.variables]

    def epoch(self, order: np.ndarray, rates: np.ndarray, full: int | None = None) -> np.ndarray:
        """Train one pass over the samples in this order, with a learning rate for each step: running (loss, accuracy).

        `full` batches, all of an epoch unless it is given, and the smaller last one where there is one.
        """
        import tensorflow as tf

        full = len(order) // self.shape.training.batch_size if full is None else full
        inputs = (tf.constant(order, tf.int32), tf.constant(rates, self.optimizer.learning_rate.dtype))
        return np.asarray(self._compiled(*inputs, tf.constant(full)))

    def _epoch(self, order: Any, rates: Any, full: Any) -> Any:
        import tensorflow as tf

        images, labels = self.samples.train
        batch = self.shape.training.batch_size
        rest = int(images.shape[0]) % batch

        def step(number: Any, size: int) -> Any:
            chosen = tf.slice(order, [number * batch], [size])
            self.optimizer.learning_rate.assign(tf.gather(rates, number))
            loss, right = self._step(tf.gather(images, chosen), tf.gather(labels, chosen))
            return tf.stack([loss * size, right])

        _, total = tf.while_loop(
            lambda number, total: number < full,
            lambda number, total: (number + 1, total + step(number, batch)),
            [0, tf.zeros(2, self.dtype)],
        )
        if rest:
            total += step(self.steps - 1, rest)
        return total / int(images.shape[0])

    def _step(self, x: Any, y: Any) -> tuple[Any, Any]:
        import tensorflow as tf

        x, y = tf.cast(x, self.dtype), tf.cast(y, self.dtype)
        with tf.GradientTape() as tape:
            outputs = self.model(x, training=True)
            loss = tf.add_n([tf.reduce_mean(self.loss(y, outputs)), *self.model.losses])
        self.optimizer.apply(tape.gradient(loss, self.model.trainable_variables))
        return tf.cast(loss, self.dtype), self.network.right(y, outputs)


def train(
    jobs: Sequence[tuple[int, RunConfig]],
    split: Split,
    classes: int,
    device: Device,
    checkpoints: Checkpoints | None = None,
    stop: threading.Event | None = None,
    prune: Prune = never,
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
        built: dict[Any, Network] = {}
        try:
            while not stop.is_set() and (taken := share.take(programs)):
                index, job = taken
                run = Run(index, job, split, prune)
                try:
                    shape = shape_of(job)
                    if shape not in programs:
                        # One at a time: a worker comes back to an earlier shape only to help another one out.
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
        order = run.in_order(randomness.order(job.seed, run.trained, len(run.split.train)))
        rates = learning_rates(job, run.trained, program.steps)
        before = time.perf_counter()
        running = program.epoch(order, rates)
        run.train_seconds += time.perf_counter() - before
        if event := run.add_epoch(running, program.network.curve().numpy() if run.point_is_next else None):
            put(event)
    if cut_short := run.cut_short():
        put(Done(run.index, cut_short))
        return
    scores, probabilities, *watched = (array.numpy() for array in program.network.measure())
    numbers = scores.tolist()
    put(
        Done(
            run.index, run.measured(numbers[:2], numbers[2:], probabilities, networks.weights(program.model), *watched)
        )
    )


def _trim() -> None:
    """Hand memory that compiling needed back to the system, where the C library can (4 MB a program)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


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
