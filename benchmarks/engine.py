"""Training alone: seconds per model over the time of its matrix products, all cores busy.

    python -m benchmarks.engine [widths=64,512] [optimizer=rmsprop] [repeats=5]

The products of a run (five epochs of the book's network at batch 128: forward, and backward for the kernels and the
hidden layer) are timed by themselves, in the same precision and batch, one single-threaded program per core, at
the best of several repeats: the machine's peak for these shapes. A second figure takes the machine's peak for large
square products instead. Evaluation is measured apart, as a share of the training.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import yaml

from benchmarks import measure
from pipeline import console
from pipeline.config import job as j
from pipeline.config import rules
from pipeline.data.arrays import load, split
from pipeline.models import devices

BATCH, SAMPLES, INPUTS, CLASSES, EPOCHS = 128, 60_000, 784, 10, 5


def job(width: int, optimizer: str) -> j.Job:
    values = yaml.safe_load((rules.CONF / "optimizer" / f"{optimizer}.yaml").read_text())
    name = values.pop("name")
    return j.Job(
        j.Dataset("mnist", 0),
        j.Model((width,), "relu", 0.0, "glorot_uniform"),
        j.Optimizer(name, tuple(sorted(values.items()))),
        j.Training(EPOCHS, BATCH, "categorical_crossentropy", 10_000),
        0,
    )


def together(tasks: list[Callable[[], Any]]) -> float:
    """Seconds that each of the tasks, run side by side in threads of their own, keeps a core busy.

    The processor's time, not the wall clock's: the same on a calm machine, and not disturbed by other people's work.
    """
    threads = [threading.Thread(target=task) for task in tasks]
    started = time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.process_time() - started) / len(tasks)


def products(width: int, cores: int, repeats: int) -> float:
    """Seconds per model of the matrix products alone, at this width, all cores busy; the best of `repeats`."""
    import tensorflow as tf

    steps = -(-SAMPLES // BATCH)
    shapes = [
        ((BATCH, INPUTS), (INPUTS, width)),
        ((BATCH, width), (width, CLASSES)),
        ((width, BATCH), (BATCH, CLASSES)),
        ((BATCH, CLASSES), (CLASSES, width)),
        ((INPUTS, BATCH), (BATCH, width)),
    ]
    rng = np.random.default_rng(0)
    pairs = [[tf.constant(rng.random(s, dtype=np.float32)) for s in pair] for pair in shapes]

    def multiply() -> None:
        for _ in range(steps // 4):
            for left, right in pairs:
                tf.linalg.matmul(left, right)

    multiply()
    best = min(together([multiply] * cores) for _ in range(repeats))
    return best * EPOCHS * steps / (steps // 4) / cores


def peak(cores: int, repeats: int) -> float:
    """GFLOP/s of all cores together on square products of 1,024."""
    import tensorflow as tf

    size, count = 1024, 20
    a = tf.random.uniform((size, size))

    def multiply() -> None:
        for _ in range(count):
            tf.linalg.matmul(a, a)

    multiply()
    return cores * count * 2 * size**3 / min(together([multiply] * cores) for _ in range(repeats)) / 1e9


def flop(width: int) -> float:
    """Floating-point operations of the matrix products of one run."""
    return EPOCHS * SAMPLES * 2 * (2 * INPUTS * width + 3 * width * CLASSES)


def _epoch(program: Any, inputs: list[Any]) -> None:
    program.epoch(*inputs).numpy()


def main(argv: Sequence[str]) -> int:
    values = console.words(argv, {"widths": "64,512", "optimizer": "rmsprop", "repeats": "5"}, __doc__ or "")
    repeats = int(values["repeats"])
    device = devices.choose("cpu", "tensorflow", "float32", True, "engine", 0, 0)
    devices.start(device)
    from pipeline.training import engine

    cores = device.workers
    print(measure.machine())
    gflops = peak(cores, repeats)
    print(f"peak on square products: {gflops:.0f} GFLOP/s with {cores} cores")
    arrays = load(console.PROJECT / "data" / "processed" / "mnist")
    data = split(arrays, 0)
    samples = engine.Samples(data, CLASSES)
    for width in map(int, values["widths"].split(",")):
        one = job(width, values["optimizer"])
        programs = [engine.Program(engine.shape_of(one), samples, CLASSES, device) for _ in range(cores)]
        for program in programs:
            program.reset(one)
        order = engine._constants(np.random.default_rng(0).permutation(SAMPLES), programs[0].steps)
        nothing = [order[0], engine._constants(0)[0]]
        best: dict[str, list[float]] = {"whole": [], "curve": []}
        for _ in range(repeats):
            # An epoch of no full batch is the last partial batch and the curve; what is left is the training.
            for name, inputs in (("whole", order), ("curve", nothing)):
                best[name].append(together([partial(_epoch, program, inputs) for program in programs]) / cores)
        whole, curve = statistics.median(best["whole"]), statistics.median(best["curve"])
        training = EPOCHS * (whole - curve)
        alone = products(width, cores, repeats)
        print(
            f"width {width}: {training:.3f} s per model; products alone {alone:.3f} s (ratio {training / alone:.2f}), "
            f"at the square peak {flop(width) / gflops / 1e9:.3f} s (ratio {training * gflops * 1e9 / flop(width):.2f}); "
            f"curve {100 * curve / (whole - curve):.0f} % of the training",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    console.run(main)
