"""Training alone: seconds per model over the time of its matrix products, all cores busy.

    python -m benchmarks.engine [widths=64,512] [optimizer=rmsprop] [repeats=9]

By the wall clock, a model a core side by side, as in a sweep. The products of a run (five epochs of the book's network at
batch 128: forward, and backward for the kernels and the hidden layer) are timed by themselves between the repeats, in
the same precision and batch, with the faster of TensorFlow's and numpy's library; a second figure takes the machine's peak for
large square products instead. Medians over the repeats. Evaluation is measured apart, as a share of the training.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import measure
from pipeline.cli import console
from pipeline.config import rules
from pipeline.config import run_config as j
from pipeline.data.arrays import load
from pipeline.models import devices

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
    """Seconds until all of the tasks, run side by side in threads of their own, are done."""
    threads = [threading.Thread(target=task) for task in tasks]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


def multiplier(pairs: list[tuple[np.ndarray, np.ndarray]], count: int, library: str) -> Callable[[], None]:
    """A task that multiplies each of `pairs`, `count` times."""
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


def products(width: int, cores: int) -> float:
    """Seconds per model of the matrix products alone, at this width, all cores busy, with the faster library."""
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
    seconds = min(together([multiplier(pairs, count, library)] * cores) for library in LIBRARIES)
    return seconds * EPOCHS * steps / count / cores


def peak(cores: int) -> float:
    """GFLOP/s of all cores together on square products of 1,024, with the faster library."""
    size, count = 1024, 20
    rng = np.random.default_rng(0)
    pairs = [(rng.random((size, size), dtype=np.float32),) * 2]
    seconds = min(together([multiplier(pairs, count, library)] * cores) for library in LIBRARIES)
    return cores * count * 2 * size**3 / seconds / 1e9


def flop(width: int) -> float:
    """Floating-point operations of the matrix products of one run."""
    return EPOCHS * SAMPLES * 2 * (2 * INPUTS * width + 3 * width * CLASSES)


def main(argv: Sequence[str]) -> int:
    values = console.words(argv, {"widths": "64,512", "optimizer": "rmsprop", "repeats": "9"}, __doc__ or "")
    repeats = int(values["repeats"])
    device = devices.choose("cpu", "tensorflow", "float32", True, "engine", 0, 0)
    devices.start(device)
    from pipeline.training import engine
    from pipeline.training.splits import split

    cores = device.workers
    print(f"{measure.machine()}; medians of {repeats}")
    arrays = load(console.PROJECT / "data" / "processed" / "mnist")
    data = split(arrays, j.Dataset("mnist", 0))
    samples = engine.Samples(data, CLASSES)
    with threadpool_limits(1):  # numpy's library; TensorFlow's pool has as many threads as there are models
        for width in map(int, values["widths"].split(",")):
            one = job(width, values["optimizer"])
            programs = [engine.Program(engine.shape_of(one), samples, CLASSES, device) for _ in range(cores)]
            for program in programs:
                program.reset(one)
            order, rates = np.random.default_rng(0).permutation(SAMPLES), np.full(programs[0].steps, 0.001)
            found: dict[str, list[float]] = {name: [] for name in ("training", "curve", "products", "peak")}
            for _ in range(repeats + 1):
                training: list[Callable[[], Any]] = [partial(program.epoch, order, rates) for program in programs]
                curves: list[Callable[[], Any]] = [program.network.curve for program in programs]
                found["training"].append(EPOCHS * together(training) / cores)
                found["curve"].append(EPOCHS * together(curves) / cores)
                found["products"].append(products(width, cores))
                found["peak"].append(peak(cores))
            # The first of each warms up.
            seconds, curve, alone, gflops = (statistics.median(figures[1:]) for figures in found.values())
            print(
                f"width {width}: {seconds:.3f} s per model; products alone {alone:.3f} s (ratio {seconds / alone:.2f}), "
                f"at the peak of {gflops:.0f} GFLOP/s {flop(width) / gflops / 1e9:.3f} s "
                f"(ratio {seconds * gflops * 1e9 / flop(width):.2f}); curve {100 * curve / seconds:.0f} % of the training",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    console.run(main)
