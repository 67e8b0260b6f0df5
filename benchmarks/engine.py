"""Measure training alone: seconds per model over the time of its matrix products, with all cores busy.

    python -m benchmarks.engine [widths=64,512] [optimizer=rmsprop] [repeats=9] [backend=tensorflow] [stack=0]

Times are by the wall clock. As in a sweep, TensorFlow trains one model per core in parallel, and JAX a stack of models.
A run is five epochs of the book's network at batch 128. Its products, of the forward pass and of the backward pass for
the kernels and the hidden layer, are timed between the repeats, in the same precision and batch size, with the faster
of TensorFlow's and numpy's library (on JAX numpy's only). A second ratio uses the machine's peak for large square
products. All are medians over the repeats. Measured separately: evaluation, as a share of the training, and the
processor time before the first epoch of a width, to build and compile its first program and its evaluation.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks import measure
from pipeline.cli import console
from pipeline.config import rules
from pipeline.config import run_config as j
from pipeline.data.arrays import load
from pipeline.models import devices
from pipeline.models.devices import Device
from pipeline.training.shapes import shape_of
from pipeline.training.splits import Split, split

BATCH, SAMPLES, INPUTS, CLASSES, EPOCHS = 128, 60_000, 784, 10, 5
LIBRARIES = ("tensorflow", "numpy")


def job(width: int, optimizer: str) -> j.RunConfig:
    values = rules.content("optimizer", optimizer)
    name = values.pop("name")
    values.pop("class")
    return j.RunConfig(
        j.Dataset("mnist", 0),
        j.Model((width,), "relu", 0.0, "glorot_uniform"),
        j.Optimizer(name, tuple(sorted(values.items()))),
        j.Training(EPOCHS, BATCH, "categorical_crossentropy", 10_000),
        0,
    )


def together(tasks: list[Callable[[], Any]]) -> float:
    """Run the tasks in parallel, each in its own thread; return the seconds until all are done."""
    threads = [threading.Thread(target=task) for task in tasks]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


def multiplier(pairs: list[tuple[np.ndarray, np.ndarray]], count: int, library: str) -> Callable[[], None]:
    """Return a task that multiplies each of `pairs` `count` times."""
    if library == "numpy":

        def multiply() -> None:
            for _ in range(count):
                for left, right in pairs:
                    left @ right

        return multiply
    import tensorflow as tf

    held = [(tf.constant(left), tf.constant(right)) for left, right in pairs]

    def multiply_tensors() -> None:
        for _ in range(count):
            for left, right in held:
                tf.linalg.matmul(left, right)

    return multiply_tensors


def products(width: int, cores: int, libraries: Sequence[str]) -> float:
    """Return seconds per model of the matrix products alone at this width, all cores busy, with the faster library."""
    steps = -(-SAMPLES // BATCH)
    shapes = [
        ((BATCH, INPUTS), (INPUTS, width)),
        ((BATCH, width), (width, CLASSES)),
        ((width, BATCH), (BATCH, CLASSES)),
        ((BATCH, CLASSES), (CLASSES, width)),
        ((INPUTS, BATCH), (BATCH, width)),
    ]
    rng = np.random.default_rng(0)
    pairs = [(rng.random(a, dtype=np.float32), rng.random(b, dtype=np.float32)) for a, b in shapes]
    count = steps // 2
    seconds = min(together([multiplier(pairs, count, library)] * cores) for library in libraries)
    return seconds * EPOCHS * steps / count / cores


def peak(cores: int, libraries: Sequence[str] = LIBRARIES) -> float:
    """Return GFLOP/s of all cores together on products of 1,024 x 1,024 matrices, with the faster library."""
    size, count = 1024, 20
    rng = np.random.default_rng(0)
    pairs = [(rng.random((size, size), dtype=np.float32),) * 2]
    seconds = min(together([multiplier(pairs, count, library)] * cores) for library in libraries)
    return cores * count * 2 * size**3 / seconds / 1e9


def flop(width: int, samples: int = SAMPLES) -> float:
    """Return the number of floating-point operations in the matrix products of one run."""
    return EPOCHS * samples * 2 * (2 * INPUTS * width + 3 * width * CLASSES)


Trained = tuple[Callable[[], Any], Callable[[], Any]]
"""Two functions: train a model or a stack for one epoch, and measure one point of its curve."""


def on_tensorflow(run: j.RunConfig, data: Split, device: Device) -> Iterator[Trained]:
    """Yield programs of one model each, as many as asked for."""
    from pipeline.training import engine

    samples = engine.Samples(data, CLASSES)
    order = np.random.default_rng(0).permutation(SAMPLES)
    while True:
        program = engine.Program(shape_of(run), samples, CLASSES, device)
        program.reset(run)
        yield partial(program.epoch, order, np.full(program.steps, 0.001)), program.network.curve


def on_jax(run: j.RunConfig, data: Split, device: Device) -> Iterator[Trained]:
    """Yield one program of a whole stack."""
    from jax import numpy as jnp

    from pipeline.training import stacked

    samples, size = stacked.Samples(data, CLASSES), device.stack
    program = stacked.Program(shape_of(run), samples, CLASSES, device, size)
    begin = program.start(run)
    state = [
        [jnp.asarray(np.stack([array] * size)) for array in part]
        for part in (begin.trainable, begin.other, begin.optimizer)
    ]
    order = jnp.asarray(np.stack([np.random.default_rng(0).permutation(SAMPLES).astype(np.int32)] * size))
    rates = jnp.full((size, program.steps), 0.001, program.dtype)

    def epoch() -> None:
        *state[:], numbers = program.epoch(*state, jnp.zeros(size, program.dtype), order, rates, samples.train)
        np.asarray(numbers)

    yield epoch, lambda: program.evaluation.curve(*state[:2])


def main(argv: Sequence[str]) -> int:
    defaults = {"widths": "64,512", "optimizer": "rmsprop", "repeats": "9", "backend": "tensorflow", "stack": "0"}
    values = console.read_options(argv, defaults, __doc__ or "")
    repeats, backend = int(values["repeats"]), values["backend"]
    device = devices.choose("cpu", backend, "float32", True, "engine", 0, int(values["stack"]))
    devices.start(device)
    cores = len(os.sched_getaffinity(0))
    print(f"{measure.machine()}; medians of {repeats}; {device}")
    arrays = load(console.PROJECT / "data" / "processed" / "mnist")
    from threadpoolctl import threadpool_limits  # comes with scikit-learn, which benchmarks.gpu does without

    data = split(arrays, j.Dataset("mnist", 0))
    libraries = LIBRARIES if backend == "tensorflow" else ("numpy",)
    with threadpool_limits(1):  # limits numpy's library; TensorFlow's pool has a thread per model
        for width in map(int, values["widths"].split(",")):
            built = time.process_time()
            trained = (on_tensorflow if backend == "tensorflow" else on_jax)(
                job(width, values["optimizer"]), data, device
            )
            models = [next(trained)]
            models[0][1]()
            built = time.process_time() - built
            models += [next(trained) for _ in range(device.workers - 1)]
            count = len(models) * device.stack
            found: dict[str, list[float]] = {name: [] for name in ("training", "curve", "products", "peak")}
            for _ in range(repeats + 1):
                found["training"].append(EPOCHS * together([epoch for epoch, _ in models]) / count)
                found["curve"].append(EPOCHS * together([curve for _, curve in models]) / count)
                found["products"].append(products(width, cores, libraries))
                found["peak"].append(peak(cores, libraries))
            # The first repeat is a warm-up.
            seconds, curve, alone, gflops = (statistics.median(metrics[1:]) for metrics in found.values())
            print(
                f"width {width}: {seconds:.3f} s per model; products alone {alone:.3f} s (ratio {seconds / alone:.2f}), "
                f"at the peak of {gflops:.0f} GFLOP/s {flop(width) / gflops / 1e9:.3f} s "
                f"(ratio {seconds * gflops * 1e9 / flop(width):.2f}); curve {100 * curve / seconds:.0f} % of the training; "
                f"built in {built:.1f} s of processor time",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    console.run(main)
