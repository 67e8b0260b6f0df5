"""The engine on JAX: trains `device.stack` models of one shape in one program.

It runs Keras's stateless API under `jax.vmap`. Weights, optimizer state, learning rate, weight decay and sample order have
a model axis; the data has none. A stack is padded with copies to its fixed size, so the bits of a run do not depend on how
many others train with it. The size may change the bits, so it is part of the numeric settings.
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
from pipeline.models import networks, optimizers, randomness
from pipeline.models.devices import Device
from pipeline.training.checkpoints import Checkpoints, NoCheckpoints, Saving
from pipeline.training.outcome import Done, Event, Prune, Run, never_prune
from pipeline.training.shapes import (
    CHUNK,
    curve,
    learning_rates,
    pads_last_batch,
    plain_loss,
    shape_of,
    steps_of,
    training_loss,
)
from pipeline.training.splits import Part, Split

Arrays = list[Any]


@dataclass
class State:
    """Everything that training changes, as JAX arrays; in a stack each has a leading model axis."""

    trainable: Arrays
    other: Arrays
    optimizer: Arrays


LEVELS = np.arange(256, dtype=np.float32) / 255


class Samples:
    """The data on the device, shared by all programs: pixels, as bytes if that loses nothing, and one-hot labels."""

    def __init__(self, split: Split, classes: int) -> None:
        import jax.numpy as jnp

        def held(part: Part) -> tuple[Any, Any]:
            return jnp.asarray(_as_bytes(part.images)), jnp.asarray(np.eye(classes, dtype=np.float32)[part.labels])

        self.shape = split.shape
        self.train = held(split.train)
        self.test = held(split.test)
        self.has_held_out = split.held_out_name == "val"
        self.held_out = held(split.held_out) if self.has_held_out else self.test


class Network:
    """A Keras network and the compiled evaluation of a stack of it, shared by all optimizers that train it."""

    def __init__(self, shape: RunConfig, samples: Samples, classes: int, device: Device, size: int) -> None:
        import jax

        self.network = networks.build(shape.model, samples.shape, classes, device.dtype)
        self.loss = plain_loss(shape.training)
        self.dtype = _dtype(device)
        self._part = curve(shape, len(samples.train[0]))
        for_metrics = bool(shape.training.metrics) and samples.has_held_out
        self._measured_on = [samples.test, *([samples.held_out] if for_metrics else [])]
        weights = [
            _stack_of(size, self.network.trainable_variables),
            _stack_of(size, self.network.non_trainable_variables),
        ]
        # The data is an argument that the stack shares: a constant would be compiled into the program.
        self._lowered = [
            jax.jit(jax.vmap(measure, in_axes=(0, 0, None, None))).lower(*weights, samples.train, other)
            for measure, other in ((self._curve, samples.held_out), (self._measure, self._measured_on))
        ]
        self._samples = samples
        self._compiling = threading.Lock()
        self._compiled: list[Any] = []

    def compile(self) -> None:
        """Compile once; other threads wait."""
        with self._compiling:
            if not self._compiled:
                self._compiled = [program.compile() for program in self._lowered]

    def curve(self, trainable: Arrays, other: Arrays) -> np.ndarray:
        """Return (loss, accuracy) on the training samples of the curve and on all held-out samples: four numbers per model."""
        return np.asarray(self._compiled[0](trainable, other, self._samples.train, self._samples.held_out))

    def measure(self, trainable: Arrays, other: Arrays) -> list[np.ndarray]:
        """Return (loss, accuracy) on all training and all test samples, four numbers per model, and the test probabilities.

        The probabilities of the held-out samples follow if metrics need them.
        """
        found = self._compiled[1](trainable, other, self._samples.train, self._measured_on)
        return [np.asarray(array) for array in found]

    def _curve(self, trainable: Arrays, other: Arrays, train: Any, held_out: Any) -> Any:
        import jax.numpy as jnp

        part = train if self._part is None else tuple(array[self._part] for array in train)
        return jnp.concatenate([self._score(trainable, other, samples)[0] for samples in (part, held_out)])

    def _measure(self, trainable: Arrays, other: Arrays, train: Any, measured_on: list[Any]) -> list[Any]:
        import jax.numpy as jnp

        (on_test, *_), *_ = found = [self._score(trainable, other, samples) for samples in measured_on]
        scores = jnp.concatenate([self._score(trainable, other, train)[0], on_test])
        return [scores, *(probabilities for _, probabilities in found)]

    def _score(self, trainable: Arrays, other: Arrays, samples: Any) -> tuple[Any, Any]:
        """Return [mean loss, accuracy] on all `samples` in inference mode, and the probabilities."""
        import jax
        import jax.numpy as jnp

        images, labels = samples
        count = len(images)
        full, rest = divmod(count, CHUNK)

        def on(start: Any, size: int) -> tuple[Any, Any]:
            x = _from_bytes(jax.lax.dynamic_slice_in_dim(images, start, size)).astype(self.dtype)
            y = jax.lax.dynamic_slice_in_dim(labels, start, size).astype(self.dtype)
            outputs, _ = self.network.stateless_call(trainable, other, x, training=False)
            loss = self.loss(y, outputs).mean().astype(self.dtype) * size
            return jnp.stack([loss, _correct(y, outputs).astype(self.dtype)]), outputs

        total, parts = jnp.zeros(2, self.dtype), []
        if full:
            sums, outputs = jax.lax.map(lambda chunk: on(chunk * CHUNK, CHUNK), jnp.arange(full))
            total, parts = total + sums.sum(0), [outputs.reshape(full * CHUNK, -1)]
        if rest:
            sums, outputs = on(full * CHUNK, rest)
            total, parts = total + sums, [*parts, outputs]
        return total / count, jnp.concatenate(parts)


class Program:
    """The compiled training of a stack of `size` models of one shape."""

    _tracing = threading.Lock()

    def __init__(
        self,
        shape: RunConfig,
        samples: Samples,
        classes: int,
        device: Device,
        size: int,
        built: dict[Any, Network] | None = None,
    ) -> None:
        import jax

        self.shape, self.samples, self.size = shape, samples, size
        self.dtype = _dtype(device)
        self.count, self.batch = len(samples.train[0]), shape.training.batch_size
        self.steps = steps_of(shape, self.count)
        self.pads_last_batch = pads_last_batch(shape, self.count)
        built = {} if built is None else built
        # One at a time: Keras names layers by a counter of the process, and tracing changes the optimizer.
        with Program._tracing:
            network_key = (shape.model, shape.training.loss, shape.training.curve_samples, shape.training.metrics, size)
            if network_key not in built:
                built[network_key] = Network(shape, samples, classes, device, size)
            self.evaluation = built[network_key]
            # Not the network of the evaluation: each run draws its initial weights into the variables of this one.
            self.network = networks.build(shape.model, samples.shape, classes, device.dtype)
            self.initial_state = optimizers.InitialState(shape.optimizer, self.network.trainable_variables)
            self.optimizer = optimizers.build(shape.optimizer, shape.training.clip_norm)
            self.optimizer.build(self.network.trainable_variables)
            self.rate = next(n for n, v in enumerate(self.optimizer.variables) if v is self.optimizer.learning_rate)
            self.loss = training_loss(shape.training)
            epoch = jax.jit(jax.vmap(self._epoch, in_axes=(0, 0, 0, 0, 0, 0, None)), donate_argnums=(0, 1, 2))
            lowered = epoch.lower(
                _stack_of(size, self.network.trainable_variables),
                _stack_of(size, self.network.non_trainable_variables),
                _stack_of(size, self.optimizer.variables),
                jax.ShapeDtypeStruct((size,), self.dtype),
                jax.ShapeDtypeStruct((size, self.count), "int32"),
                jax.ShapeDtypeStruct((size, self.steps), self.optimizer.learning_rate.dtype),
                samples.train,
            )
        self.epoch = lowered.compile()
        self.evaluation.compile()

    def start(self, job: RunConfig) -> State:
        """Return the initial state of `job`: weights, dropout states and optimizer, as numpy arrays."""
        networks.set_initial(self.network, job.model, job.seed)
        trainable, other = (
            [np.array(variable.value) for variable in variables]
            for variables in (self.network.trainable_variables, self.network.non_trainable_variables)
        )
        initial = self.initial_state.values(job.optimizer, self.network.trainable_variables)
        dtypes = [variable.dtype for variable in self.optimizer.variables]
        return State(trainable, other, [value.astype(dtype) for value, dtype in zip(initial, dtypes, strict=True)])

    def unflattened(self, arrays: Sequence[np.ndarray]) -> State:
        """Return the state with these arrays, in the order of its fields."""
        first = len(self.network.trainable_variables)
        second = first + len(self.network.non_trainable_variables)
        return State(list(arrays[:first]), list(arrays[first:second]), list(arrays[second:]))

    def weights(self, arrays: Arrays, slot: int) -> dict[str, np.ndarray]:
        """Return `networks.weights` of the model in this slot of the stack; `arrays` are stacked, trainable ones first."""
        variables = self.network.trainable_variables + self.network.non_trainable_variables
        by_name = {networks.name(variable): array for variable, array in zip(variables, arrays, strict=True)}
        names = [networks.name(variable) for variable in self.network.weights]
        return {name: by_name[name][slot].copy() for name in names}

    def _epoch(
        self,
        trainable: Arrays,
        other: Arrays,
        optimizer: Arrays,
        decay: Any,
        order: Any,
        rates: Any,
        train: Any,
    ) -> tuple[Arrays, Arrays, Arrays, Any]:
        """Train one model for an epoch, see `engine.Program.epoch`."""
        import jax
        import jax.numpy as jnp

        images, labels = train
        rest = self.count % self.batch
        full_steps = self.steps if self.pads_last_batch or not rest else self.steps - 1

        def step(carry: Any, inputs: Any) -> Any:
            (trainable, other, optimizer), total = carry
            chosen, rate, mask = inputs
            x, y = _from_bytes(images[chosen]).astype(self.dtype), labels[chosen].astype(self.dtype)
            loss = jax.value_and_grad(self._loss, has_aux=True)
            (value, (outputs, other)), gradients = loss(trainable, other, x, y, mask)
            optimizer = [*optimizer[: self.rate], rate, *optimizer[self.rate + 1 :]]
            trainable, optimizer = self._apply(optimizer, gradients, trainable, decay)
            right = (outputs.argmax(1) == y.argmax(1)) * mask
            numbers = jnp.stack([value.astype(self.dtype) * mask.sum(), right.sum()])
            return (trainable, other, optimizer), total + numbers

        carry = ((trainable, other, optimizer), jnp.zeros(2, self.dtype))
        # The last batch is padded from the beginning of the order; the mask is 0 for these samples.
        in_batches = jnp.resize(order, (self.steps, self.batch)), rates, self._mask()
        full_batches = [array[:full_steps] for array in in_batches]
        carry, _none = jax.lax.scan(lambda carry, inputs: (step(carry, inputs), None), carry, full_batches)
        if full_steps < self.steps:
            last, rate, mask = (array[-1] for array in in_batches)
            carry = step(carry, (last[:rest], rate, mask[:rest]))
        (trainable, other, optimizer), total = carry
        return trainable, other, optimizer, total / self.count

    def _mask(self) -> np.ndarray:
        """Return 1 for each sample and 0 for the padding of the last batch, (steps, batch)."""
        return (np.arange(self.steps * self.batch) < self.count).astype(self.dtype).reshape(self.steps, self.batch)

    def _loss(self, trainable: Arrays, other: Arrays, x: Any, y: Any, mask: Any) -> tuple[Any, Any]:
        outputs, other, penalties = self.network.stateless_call(trainable, other, x, training=True, return_losses=True)
        losses = self.loss(y, outputs)
        return sum(penalties, (losses * mask.astype(losses.dtype)).sum() / mask.sum()), (outputs, other)

    def _apply(self, optimizer: Arrays, gradients: Arrays, trainable: Arrays, decay: Any) -> tuple[Arrays, Arrays]:
        """Apply Keras's optimizer step; its weight decay, if any, is an input of the program."""
        compiled_in = self.optimizer.weight_decay
        if compiled_in is not None:
            self.optimizer.weight_decay = decay
        try:
            trainable, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
            return trainable, optimizer
        finally:
            self.optimizer.weight_decay = compiled_in


def _as_bytes(images: np.ndarray) -> np.ndarray:
    """Return float32 images as uint8 if they have only the 256 pixel values in [0, 1]; otherwise unchanged."""
    with np.errstate(invalid="ignore"):
        pixels = np.rint(images * 255).astype(np.uint8)
    return pixels if np.array_equal(LEVELS[pixels], images) else images


def _from_bytes(images: Any) -> Any:
    """Invert `_as_bytes`, with a lookup table: when XLA divides by a constant, the bits differ from numpy's."""
    import jax.numpy as jnp

    return jnp.asarray(LEVELS)[images] if images.dtype == np.uint8 else images


def _correct(y: Any, outputs: Any) -> Any:
    return (outputs.argmax(1) == y.argmax(1)).sum()


def _dtype(device: Device) -> str:
    return "float64" if device.dtype == "float64" else "float32"


def _stack_of(size: int, variables: Sequence[Any]) -> list[Any]:
    """Return the shapes of `variables` in a stack of `size` models."""
    import jax

    return [jax.ShapeDtypeStruct((size, *variable.shape), variable.dtype) for variable in variables]


def train(
    jobs: Sequence[tuple[int, RunConfig]],
    split: Split,
    classes: int,
    device: Device,
    checkpoints: Checkpoints | None = None,
    stop: threading.Event | None = None,
    prune: Prune = never_prune,
) -> Iterator[Event]:
    """Train `jobs`, given as (index, job), in stacks of `device.stack` with one shape, number of epochs and schedule.

    A thread keeps the device busy while the caller stores finished runs. Closing the generator or setting `stop` ends it at
    its next epoch.
    """
    # Bounded, so that finished weights do not fill the memory if the caller is slow.
    events: queue.Queue[Event | Exception | None] = queue.Queue(2 * max(1, device.stack))
    stop = stop or threading.Event()

    def put(event: Event | Exception | None) -> None:
        while not stop.is_set():
            with suppress(queue.Full):
                events.put(event, timeout=1)
                return

    def work() -> None:
        try:
            for event in _train(jobs, split, classes, device, stop, checkpoints or NoCheckpoints(), prune):
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
    jobs: Sequence[tuple[int, RunConfig]],
    split: Split,
    classes: int,
    device: Device,
    stop: threading.Event,
    checkpoints: Checkpoints,
    prune: Prune,
) -> Iterator[Event]:
    """Yield the events of `train` in its thread.

    If a stack does not fit into memory, the size is halved permanently: the unfinished runs of the stack start again, and
    results of smaller stacks record the size in their identity.
    """
    samples = Samples(split, classes)
    groups: dict[RunConfig, dict[tuple[int, str], list[tuple[int, RunConfig]]]] = {}
    for index, job in jobs:
        # A custom schedule that fails must not fail the runs with another one.
        alike = job.training.epochs, job.training.schedule if "." in job.training.schedule else ""
        groups.setdefault(shape_of(job), {}).setdefault(alike, []).append((index, job))
    size = max(1, device.stack)
    built: dict[Any, Network] = {}

    def build(shape: RunConfig, size: int) -> Program:
        return Program(shape, samples, classes, device, size, built)

    with _Programs(list(groups), build) as programs:
        for shape, alike_runs in groups.items():
            for left in alike_runs.values():
                while left and not stop.is_set():
                    taken, left = left[:size], left[size:]
                    live = {index: Run(index, job, split, prune) for index, job in taken}
                    smaller = {"numerics": {"stack": size}} if size != device.stack else {}
                    try:
                        program = programs.get(shape, size)
                        for event in _train_stack(list(live.values()), program, stop, checkpoints):
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
    """The programs of these shapes in order. XLA compiles each on one core; the other cores compile the next ones."""

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
        """Return the program of `shape` for stacks of `size`. Raises the error of its build."""
        first = self._shapes.index(shape)
        near = self._shapes[first : first + self._cores]
        kept = {each: self._futures[each] for each in near if each in self._futures and size == self._size}
        self._futures = {each: kept.get(each) or self._pool.submit(self._build, each, size) for each in near}
        self._size = size
        return self._futures[shape].result()


def _train_stack(runs: list[Run], program: Program, stop: threading.Event, checkpoints: Checkpoints) -> Iterator[Event]:
    import jax.numpy as jnp

    copies = program.size - len(runs)
    samples = len(runs[0].split.train)

    def stack(arrays: Any) -> Any:
        # Padded with copies of the first, since the program's size is fixed; results of the copies are dropped.
        own = jnp.asarray(np.stack(arrays))
        return jnp.concatenate([own, jnp.repeat(own[:1], copies, axis=0)]) if copies else own

    starts: list[State] = []
    for run in runs:
        starts.append(program.start(run.job))
        run.digests["initial_weights"] = arrays_digest(networks.weights(program.network))
        if found := checkpoints.load(run.index):
            starts[-1] = program.unflattened(found.arrays)
            run.resume(found.progress)
    stacked = [[stack(parts) for parts in zip(*(getattr(s, n) for s in starts), strict=True)] for n in vars(starts[0])]
    del starts
    saving = Saving(checkpoints)
    decays = [dict(run.job.optimizer.hyperparameters).get("weight_decay") or 0.0 for run in runs]
    decay = stack(np.asarray(decays, program.dtype))
    live = {slot: run for slot, run in enumerate(runs) if not run.ended}
    yield from _ends({slot: run for slot, run in enumerate(runs) if run.ended}, program, stacked)

    def next_order(slot: int, run: Run) -> np.ndarray:
        if slot in live:
            run.note_order(orders[slot])
        return randomness.order(run.job.seed, run.trained + 1, samples)

    def state(slot: int) -> list[np.ndarray]:
        return [np.asarray(array[list(live)[slot]]) for part in stacked for array in part]

    # One order takes 2 ms; one thread would need longer for a stack than an epoch of narrow networks takes on a GPU.
    with ThreadPoolExecutor() as pool:
        orders = list(pool.map(lambda run: randomness.order(run.job.seed, run.trained, samples), runs))
        while live:
            saving.save(list(live.values()), state, stopped=stop.is_set())
            if stop.is_set():
                return
            rates = np.stack([learning_rates(run.job, run.trained, program.steps) for run in runs])
            before = time.perf_counter()
            inputs = stack(orders), stack(rates.astype(program.optimizer.learning_rate.dtype))
            *stacked, numbers = program.epoch(*stacked, decay, *inputs, program.samples.train)
            # Computed while the device trains. A run that has ended stays in the stack; its results are dropped.
            orders = list(pool.map(next_order, range(len(runs)), runs))
            running = np.asarray(numbers)
            # The time of a stack is divided equally among its runs.
            seconds = (time.perf_counter() - before) / len(live)
            points = {slot for slot, run in live.items() if run.point_is_next}
            curves = program.evaluation.curve(*stacked[:2]) if points else running
            for slot, run in live.items():
                run.train_seconds += seconds
                if event := run.add_epoch(running[slot], curves[slot] if slot in points else None):
                    yield event
            yield from _ends({slot: run for slot, run in live.items() if run.ended}, program, stacked)
            live = {slot: run for slot, run in live.items() if not run.ended}


def _ends(ended: dict[int, Run], program: Program, stacked: list[Arrays]) -> Iterator[Done]:
    """Yield the results of the runs that ended, by index in the stack."""
    for run in ended.values():
        if unfinished := run.unfinished_result():
            yield Done(run.index, unfinished)
    finished = {slot: run for slot, run in ended.items() if not run.unfinished_result()}
    if not finished:
        return
    scores, *probabilities = program.evaluation.measure(*stacked[:2])
    weights = [np.asarray(array) for array in stacked[0] + stacked[1]]
    for slot, run in finished.items():
        numbers = scores[slot].tolist()
        own = program.weights(weights, slot)
        test, *held_out = (array[slot] for array in probabilities)
        yield Done(run.index, run.finished_result(numbers[:2], numbers[2:], test, own, *held_out))


def _out_of_memory(error: Exception) -> bool:
    return "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower() or isinstance(error, MemoryError)
