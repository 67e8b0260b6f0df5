"""The engine on JAX: models of one shape stacked in one program, as many at once as `device.stack` says.

Keras's stateless API under `jax.vmap`: weights, optimizer state, learning rate, weight decay and the order of samples have
an axis for the model, the data has none. A stack is always filled up to its fixed size with copies, so that a run's
bits do not depend on how many others train beside it; the size is part of the numerics class, since it may change bits.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.config.digests import arrays_digest
from pipeline.config.run_config import RunConfig
from pipeline.data.arrays import Split
from pipeline.models import dense, optimizers, randomness
from pipeline.models.devices import Device
from pipeline.training.outcome import Done, Event, Run
from pipeline.training.shapes import CHUNK, curve, learning_rate, shape_of

Arrays = list[Any]


@dataclass
class State:
    """Everything that training moves, as JAX arrays; in a stack each has a leading axis for the model."""

    trainable: Arrays
    other: Arrays
    optimizer: Arrays


class Samples:
    """The data on the device, once for all programs."""

    def __init__(self, split: Split, classes: int) -> None:
        import jax.numpy as jnp

        def held(images: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
            return jnp.asarray(images), jnp.asarray(np.eye(classes, dtype=np.float32)[labels])

        self.train = held(split.train_images, split.train_labels)
        self.test = held(split.test_images, split.test_labels)
        self.held_out = held(split.held_out_images, split.held_out_labels) if split.held_out == "val" else self.test


class Program:
    """The compiled training of a stack of `size` models of one shape."""

    compiled = 0
    """Programs compiled by this process so far."""

    _tracing = threading.Lock()

    def __init__(self, shape: RunConfig, samples: Samples, classes: int, device: Device, size: int) -> None:
        import jax
        import keras

        self.shape, self.samples, self.size = shape, samples, size
        self.data = (samples.train, samples.held_out, samples.test)
        self.dtype = "float64" if device.dtype == "float64" else "float32"
        # Keras names layers by a counter of the process, and its optimizer is changed while it is traced.
        with Program._tracing:
            self.network = dense.build(shape.model, samples.train[0].shape[1], classes, device.dtype)
            self.beginning = optimizers.Start(shape.optimizer, self.network.trainable_variables)
            self.optimizer = optimizers.build(shape.optimizer)
            self.optimizer.build(self.network.trainable_variables)
            self.loss = keras.losses.get(shape.training.loss)
            # The data goes in as an argument that the stack shares: as a constant it would be compiled into the program.
            shared = (None, None, None)
            epoch = jax.jit(jax.vmap(self._epoch, in_axes=(0, 0, 0, 0, 0, *shared)), donate_argnums=(0, 1, 2))
            measure = jax.jit(jax.vmap(self._measure, in_axes=(0, 0, *shared)))
            trainable, other, optimizer = (
                [jax.ShapeDtypeStruct((size, *variable.shape), variable.dtype) for variable in variables]
                for variables in (
                    self.network.trainable_variables,
                    self.network.non_trainable_variables,
                    self.optimizer.variables,
                )
            )
            decay = jax.ShapeDtypeStruct((size,), self.dtype)
            order = jax.ShapeDtypeStruct((size, len(samples.train[0])), "int32")
            lowered = (
                epoch.lower(trainable, other, optimizer, decay, order, *self.data),
                measure.lower(trainable, other, *self.data),
            )
            Program.compiled += 1
        self.epoch, self.measure = (program.compile() for program in lowered)

    def start(self, job: RunConfig) -> State:
        """Where `job` starts: its initial weights, dropout states and a fresh optimizer, as numpy arrays."""
        dense.set_initial(self.network, job.model, job.seed)
        trainable, other = (
            [np.array(variable.value) for variable in variables]
            for variables in (self.network.trainable_variables, self.network.non_trainable_variables)
        )
        begins = self.beginning.values(job.optimizer, self.network.trainable_variables)
        dtypes = [variable.dtype for variable in self.optimizer.variables]
        return State(trainable, other, [value.astype(dtype) for value, dtype in zip(begins, dtypes, strict=True)])

    def weights(self, arrays: Arrays, place: int) -> dict[str, np.ndarray]:
        """What `dense.weights` gives of the model at `place` of a stack of weights, trainable ones first."""
        variables = self.network.trainable_variables + self.network.non_trainable_variables
        by_name = {dense.name(variable): array for variable, array in zip(variables, arrays, strict=True)}
        names = [dense.name(variable) for variable in self.network.weights]
        return {name: by_name[name][place].copy() for name in names}

    def _epoch(
        self,
        trainable: Arrays,
        other: Arrays,
        optimizer: Arrays,
        decay: Any,
        order: Any,
        train: Any,
        held_out: Any,
        _: Any,
    ) -> tuple[Arrays, Arrays, Arrays, Any]:
        """One model's pass over the training samples in this order, then the curve: see the engine's `_epoch`."""
        import jax
        import jax.numpy as jnp

        images, labels = train
        batch = self.shape.training.batch_size
        full, rest = divmod(len(images), batch)

        def step(carry: Any, chosen: Any) -> Any:
            (trainable, other, optimizer), loss, right = carry
            x, y = images[chosen].astype(self.dtype), labels[chosen].astype(self.dtype)
            (value, (outputs, other)), gradients = jax.value_and_grad(self._loss, has_aux=True)(trainable, other, x, y)
            trainable, optimizer = self._apply(optimizer, gradients, trainable, decay)
            count = x.shape[0]
            return (
                (trainable, other, optimizer),
                loss + value.astype(self.dtype) * count,
                right + self._right(y, outputs),
            )

        zero = jnp.zeros((), self.dtype)
        carry = ((trainable, other, optimizer), zero, zero)
        carry, _none = jax.lax.scan(
            lambda carry, chosen: (step(carry, chosen), None), carry, order[: full * batch].reshape(full, batch)
        )
        if rest:
            carry = step(carry, order[full * batch :])
        (trainable, other, optimizer), loss, right = carry
        running = jnp.stack([loss, right]) / len(images)
        chosen = curve(self.shape, len(images))
        part = (images[chosen], labels[chosen]) if self.shape.training.curve_samples else train
        scores = [self._score(trainable, other, samples)[0] for samples in (part, held_out)]
        return trainable, other, optimizer, jnp.concatenate([running, *scores])

    def _loss(self, trainable: Arrays, other: Arrays, x: Any, y: Any) -> tuple[Any, Any]:
        outputs, other = self.network.stateless_call(trainable, other, x, training=True)
        return self.loss(y, outputs).mean(), (outputs, other)

    def _apply(self, optimizer: Arrays, gradients: Arrays, trainable: Arrays, decay: Any) -> tuple[Arrays, Arrays]:
        """Keras's own step; the weight decay is an input of the program where the optimizer has one."""
        burnt = self.optimizer.weight_decay
        if burnt is not None:
            self.optimizer.weight_decay = decay
        try:
            trainable, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
            return trainable, optimizer
        finally:
            self.optimizer.weight_decay = burnt

    def _right(self, y: Any, outputs: Any) -> Any:
        return (outputs.argmax(1) == y.argmax(1)).sum().astype(self.dtype)

    def _score(self, trainable: Arrays, other: Arrays, samples: Any) -> tuple[Any, Any]:
        """[mean loss, accuracy] on all `samples` in inference mode, and the probabilities."""
        import jax
        import jax.numpy as jnp

        images, labels = samples
        count = len(images)
        full, rest = divmod(count, CHUNK)

        def on(start: Any, size: int) -> tuple[Any, Any]:
            x = jax.lax.dynamic_slice_in_dim(images, start, size).astype(self.dtype)
            y = jax.lax.dynamic_slice_in_dim(labels, start, size).astype(self.dtype)
            outputs, _ = self.network.stateless_call(trainable, other, x, training=False)
            loss = self.loss(y, outputs).mean().astype(self.dtype) * size
            return jnp.stack([loss, self._right(y, outputs)]), outputs

        total, parts = jnp.zeros(2, self.dtype), []
        if full:
            sums, outputs = jax.lax.map(lambda chunk: on(chunk * CHUNK, CHUNK), jnp.arange(full))
            total, parts = total + sums.sum(0), [outputs.reshape(full * CHUNK, -1)]
        if rest:
            sums, outputs = on(full * CHUNK, rest)
            total, parts = total + sums, [*parts, outputs]
        return total / count, jnp.concatenate(parts)

    def _measure(self, trainable: Arrays, other: Arrays, train: Any, held_out: Any, test: Any) -> tuple[Any, Any]:
        """(loss, accuracy) on all training, held-out and test samples: six numbers; and the test probabilities."""
        import jax.numpy as jnp

        on_test, probabilities = self._score(trainable, other, test)
        others = [self._score(trainable, other, samples)[0] for samples in (train, held_out)]
        return jnp.concatenate([*others, on_test]), probabilities


def train(
    jobs: Sequence[tuple[int, RunConfig]],
    split: Split,
    classes: int,
    device: Device,
    stop: threading.Event | None = None,
) -> Iterator[Event]:
    """Train `jobs` (with their indices), `device.stack` of one shape and length at a time.

    A thread keeps the device at work while the caller stores what has ended. Closing the generator, or setting `stop`,
    ends it at its next epoch.
    """
    # A bound, so that a slow caller does not let finished weights fill the memory.
    events: queue.Queue[Event | Exception | None] = queue.Queue(2 * max(1, device.stack))
    stop = stop or threading.Event()

    def put(event: Event | Exception | None) -> None:
        while not stop.is_set():
            with suppress(queue.Full):
                events.put(event, timeout=1)
                return

    def work() -> None:
        try:
            for event in _train(jobs, split, classes, device, stop):
                put(event)
            put(None)
        except Exception as error:
            put(error)

    worker = threading.Thread(target=work, name="engine", daemon=True)
    worker.start()
    try:
        while worker.is_alive() or not events.empty():
            with suppress(queue.Empty):
                event = events.get(timeout=1)
                if event is None:
                    return
                if isinstance(event, Exception):
                    raise event
                yield event
    finally:
        stop.set()
        worker.join()


def _train(
    jobs: Sequence[tuple[int, RunConfig]], split: Split, classes: int, device: Device, stop: threading.Event
) -> Iterator[Event]:
    """The events of `train`, from the thread that trains.

    Where the memory does not hold a stack, its size is halved for good: the runs of it that have not ended start anew, and
    what comes of smaller stacks says so in its identity.
    """
    samples = Samples(split, classes)
    groups: dict[RunConfig, dict[int, list[tuple[int, RunConfig]]]] = {}
    for index, job in jobs:
        groups.setdefault(shape_of(job), {}).setdefault(job.training.epochs, []).append((index, job))
    size = max(1, device.stack)
    with _Programs(list(groups), lambda shape, size: Program(shape, samples, classes, device, size)) as programs:
        for shape, of_length in groups.items():
            for left in of_length.values():
                while left and not stop.is_set():
                    taken, left = left[:size], left[size:]
                    live = {index: Run(index, job, split.held_out) for index, job in taken}
                    smaller = {"numerics": {"stack": size}} if size != device.stack else {}
                    try:
                        program = programs.get(shape, size)
                        for event in _train_stack(list(live.values()), program, split, stop):
                            if isinstance(event, Done):
                                del live[event.index]
                                event.result.identity = smaller
                            yield event
                    except Exception as error:
                        if _out_of_memory(error) and size > 1:
                            size //= 2
                            left = [(index, job) for index, job in taken if index in live] + left
                            continue
                        for run in live.values():
                            failed = run.failed(error)
                            failed.identity = smaller
                            yield Done(run.index, failed, error)


class _Programs:
    """The programs of these shapes in turn. XLA compiles each on one core: the other cores compile what comes next."""

    def __init__(self, shapes: Sequence[RunConfig], build: Callable[[RunConfig, int], Program]) -> None:
        self._shapes, self._build, self._size = shapes, build, 0
        self._cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._cores)
        self._futures: dict[RunConfig, Future[Program]] = {}

    def __enter__(self) -> _Programs:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def get(self, shape: RunConfig, size: int) -> Program:
        """The program of `shape` for stacks of `size`. Raises what building it raised."""
        place = self._shapes.index(shape)
        near = self._shapes[place : place + self._cores]
        kept = {near_by: self._futures[near_by] for near_by in near if near_by in self._futures and size == self._size}
        self._futures = {one: kept.get(one) or self._pool.submit(self._build, one, size) for one in near}
        self._size = size
        return self._futures[shape].result()


def _train_stack(runs: list[Run], program: Program, split: Split, stop: threading.Event) -> Iterator[Event]:
    import jax.numpy as jnp

    copies = program.size - len(runs)

    def stack(arrays: Any) -> Any:
        # Filled up with copies of the first: the size of the program is fixed, what comes of the copies is dropped.
        own = jnp.asarray(np.stack(arrays))
        return jnp.concatenate([own, jnp.repeat(own[:1], copies, axis=0)]) if copies else own

    def drawn(epoch: int) -> list[np.ndarray]:
        return [randomness.order(run.job.seed, epoch, len(split.train_images)) for run in runs]

    starts: list[State] = []
    for run in runs:
        starts.append(program.start(run.job))
        run.digests["initial_weights"] = arrays_digest(dense.weights(program.network))
    stacked = [[stack(parts) for parts in zip(*(getattr(s, n) for s in starts), strict=True)] for n in vars(starts[0])]
    del starts
    decays = [dict(run.job.optimizer.hyperparameters).get("weight_decay") or 0.0 for run in runs]
    decay = stack(np.asarray(decays, program.dtype))
    live = dict(enumerate(runs))
    rate = next(n for n, v in enumerate(program.optimizer.variables) if v is program.optimizer._learning_rate)
    epochs = runs[0].job.training.epochs
    orders = drawn(0)
    for epoch in range(epochs):
        if stop.is_set():
            return
        if any(run.job.training.decay_epochs for run in runs):
            rates = [learning_rate(run.job, epoch) for run in runs]
            stacked[2][rate] = stack(np.asarray(rates, stacked[2][rate].dtype))
        before = time.perf_counter()
        *stacked, numbers = program.epoch(*stacked, decay, stack(orders), *program.data)
        # While the device computes.
        for run, order in zip(runs, orders, strict=True):
            run.in_order(order)
        orders = drawn(epoch + 1) if epoch + 1 < epochs else []
        rows = np.asarray(numbers)
        # A stack's time belongs to its members in equal parts.
        seconds = (time.perf_counter() - before) / len(runs)
        for place, run in list(live.items()):
            run.train_seconds += seconds
            yield run.add_epoch(run.metrics_of(rows[place]))
            if reason := run.non_finite:
                del live[place]
                yield Done(run.index, run.diverged(reason))
        if ended := [place for place, run in live.items() if epoch + 1 == epochs or run.patience_ended]:
            scores, probabilities = (np.asarray(array) for array in program.measure(*stacked[:2], *program.data))
            weights = [np.asarray(array) for array in stacked[0] + stacked[1]]
            for place in ended:
                run = live.pop(place)
                measured = run.measured(
                    split, scores[place].tolist(), probabilities[place], program.weights(weights, place)
                )
                yield Done(run.index, measured)
        if not live:
            return


def _out_of_memory(error: Exception) -> bool:
    return "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower() or isinstance(error, MemoryError)
