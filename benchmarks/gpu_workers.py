"""Workers of `benchmarks.gpu`, each run in its own process: python -m benchmarks.gpu_workers WORKER [NAME=VALUE ...].

Each prints its results as lines of JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import engine
from pipeline.cli import console
from pipeline.config.run_config import Dataset, Model, RunConfig
from pipeline.data.arrays import load
from pipeline.training.splits import Part, Split, split

STEPS, BATCH, CLASSES = 100, 128, 10
SHAPES = [(width, depth) for depth in (1, 3, 5) for width in (16, 128, 512, 2048)]

Values = dict[str, str]


def found(**metrics: Any) -> None:
    print(json.dumps(metrics), flush=True)


def started(values: Values, stack: int, trainer: str = "engine") -> Any:
    from pipeline.models import devices

    if values["flags"]:
        os.environ["XLA_FLAGS"] = values["flags"]
    device = devices.choose(values["device"], values["backend"], values["precision"], True, trainer, 0, stack)
    devices.start(device)
    return device


def mnist(batches: int = 0) -> Split:
    """Return MNIST as the book splits it, or only `batches` batches of it with 1,000 test images."""
    data = split(load(console.PROJECT / "data" / "processed" / "mnist"), Dataset("mnist", 0))
    if not batches:
        return data
    watched = Part(data.test.source[:1000], data.test.labels[:1000])
    train = Part(data.train.source[: batches * BATCH], data.train.labels[: batches * BATCH])
    return Split(train, watched, watched, "test", data.shape)


def job(width: int, optimizer: str, depth: int = 1, epochs: int = 1) -> RunConfig:
    """Return a run of the book's network with this width and depth; its curve is measured on 1,000 samples."""
    run = engine.job(width, optimizer)
    model = Model((width,) * depth, "relu", 0.0, "glorot_uniform")
    return replace(run, model=model, training=replace(run.training, epochs=epochs, curve_samples=1000))


def trained(jobs: Sequence[RunConfig], data: Split, device: Any) -> dict[int, Any]:
    """Train these runs and return their results by index in `jobs`."""
    from pipeline.training import trainer

    events = trainer.train(jobs, data, CLASSES, device)
    return {event.index: event.result for event in events if isinstance(event, trainer.Done)}


def steps(values: Values) -> None:
    """Save the weights of each optimizer after 100 steps at batch 128, all from one seed."""
    from pipeline.models import initial

    device = started(values, 2, values["trainer"])
    data, folder = mnist(10 if values["small"] == "True" else STEPS), Path(tempfile.mkdtemp())

    def save(name: str, arrays: Sequence[np.ndarray]) -> None:
        path = folder / f"{name.replace('/', '.')}.npy"
        np.save(path, np.concatenate([np.asarray(array, np.float64).ravel() for array in arrays]))
        found(name=name, weights=str(path))

    for name in values["names"].split(","):
        if (result := trained([job(64, name)], data, device)[0]).weights is not None:
            save(name, list(result.weights.values()))
        save(f"{name}/start", initial.weights("glorot_uniform", 0, [784, 64, CLASSES]))


def company(values: Values) -> None:
    """Train eight runs in stacks of four, then five of them in another order and beside other runs."""
    device, data = started(values, 4), mnist(20)
    jobs = [replace(job(64, "adam"), seed=seed) for seed in range(8)]
    first, chosen = trained(jobs, data, device), [7, 2, 0, 5, 3]
    second = trained([jobs[n] for n in chosen], data, device)
    found(same=all(first[n].digests == second[place].digests for place, n in enumerate(chosen)))


def stack(values: Values) -> None:
    """Time an epoch of a stack of book networks, and the compilation of its programs."""
    size = int(values["stack"])
    device, data = started(values, size), mnist(20 if values["small"] == "True" else 0)
    from pipeline.training.stacked import Samples

    program, compiling = compiled(job(512, "rmsprop"), Samples(data, CLASSES), device, size)
    found(epoch=seconds_of_an_epoch(program, job(512, "rmsprop")), compile=compiling)


def compiled(run: RunConfig, samples: Any, device: Any, size: int) -> tuple[Any, float]:
    """Return the program of a stack of `size` networks, and the seconds it took to compile."""
    from pipeline.training import stacked

    before = time.perf_counter()
    program = stacked.Program(stacked.shape_of(run), samples, CLASSES, device, size)
    return program, time.perf_counter() - before


def seconds_of_an_epoch(program: Any, run: RunConfig) -> float:
    """Return the median of three epochs after a warm-up; the models have one seed and up to eight sample orders."""
    import jax.numpy as jnp

    from pipeline.models import randomness

    size = program.size
    arrays = [
        [jnp.repeat(jnp.asarray(part)[None], size, axis=0) for part in parts]
        for parts in vars(program.start(run)).values()
    ]
    orders = np.stack([randomness.order(seed, 0, program.count) for seed in range(min(size, 8))])
    order = jnp.asarray(np.resize(orders, (size, program.count)))
    rates = jnp.full((size, program.steps), 0.001, program.optimizer.learning_rate.dtype)
    decay = jnp.zeros(size, program.dtype)
    seconds = []
    for _ in range(4):
        before = time.perf_counter()
        *arrays, numbers = program.epoch(*arrays, decay, order, rates, program.samples.train)
        np.asarray(numbers)
        seconds.append(time.perf_counter() - before)
    return statistics.median(seconds[1:])


def fit(values: Values) -> None:
    """Time a book network trained by `keras.fit`. Every run compiles anew, so one of a single epoch is subtracted."""
    small = values["small"] == "True"
    device, data = started(values, 1, "reference"), mnist(20 if small else 0)
    short, long = (job(512, "rmsprop", epochs=epochs) for epochs in (1, 2 if small else engine.EPOCHS + 1))
    done = trained([short, replace(short, seed=1), replace(long, seed=2)], data, device)
    found(seconds=done[2].metrics["time/train_s"] - done[1].metrics["time/train_s"])


def size(values: Values) -> None:
    """Time 100 steps of a stack of each width and depth, while the next programs compile."""
    small = values["small"] == "True"
    device, data = started(values, 1), mnist(5 if small else STEPS)
    from pipeline.training.stacked import Samples

    peak, samples = peak_of_products(values["precision"]), Samples(data, CLASSES)

    def build(shape: tuple[int, int]) -> tuple[Any, float]:
        width, depth = shape
        return compiled(job(width, "rmsprop", depth), samples, device, 2 if small else 64 if width == 2048 else 256)

    with ThreadPoolExecutor(4) as pool:
        shapes = SHAPES[:2] if small else SHAPES
        for (width, depth), made in [(shape, pool.submit(build, shape)) for shape in shapes]:
            program, compiling = made.result()
            epoch = seconds_of_an_epoch(program, job(width, "rmsprop", depth))
            products = [before * after for before, after in pairwise([784, *(width,) * depth, CLASSES])]
            # The forward pass, and the backward pass for the kernels and for all layers but the first.
            flop = 2 * program.count * (3 * sum(products) - products[0])
            memory = program.epoch.memory_analysis()
            held = (memory.argument_size_in_bytes + memory.temp_size_in_bytes) / 1e6 if memory else float("nan")
            found(
                width=width,
                depth=depth,
                stack=program.size,
                network=epoch * engine.EPOCHS * engine.SAMPLES / program.count / program.size,
                share=program.size * flop / epoch / 1e12 / peak,
                peak=peak,
                memory=held / program.size,
                compile=compiling,
            )


def peak_of_products(precision: str) -> float:
    """Return the TFLOP/s of a large square product in the programs' precision."""
    import jax
    import jax.numpy as jnp

    count = 512 if jax.default_backend() == "cpu" else 8192
    dtype = jnp.dtype("bfloat16" if precision == "mixed_bfloat16" else "float32")
    left, right = (jax.random.normal(jax.random.key(n), (count, count), dtype=dtype) for n in range(2))
    # By the fastest kernel: a deterministic program takes the first one.
    product = jax.jit(lambda a, b: a @ b, compiler_options={"xla_gpu_deterministic_ops": False})
    seconds = []
    for _ in range(6):
        before = time.perf_counter()
        product(left, right).block_until_ready()
        seconds.append(time.perf_counter() - before)
    return float(2 * count**3 / statistics.median(seconds[1:]) / 1e12)


def end(values: Values) -> None:
    """Train a stack that no card holds: 4,096 networks of 3 x 2,048 units (80 MB each with the optimizer's state)."""
    small = values["small"] == "True"
    device, run = started(values, 4 if small else 4096), job(16 if small else 2048, "rmsprop", 3)
    before = time.perf_counter()
    results = trained([run, replace(run, seed=1)], mnist(20), device).values()
    found(
        results=[(result.status, result.reason, result.identity) for result in results],
        seconds=time.perf_counter() - before,
    )


def numerics(values: Values) -> None:
    """Find the numerics class by training, not from the one stored for this machine."""
    from pipeline.storage.numerics import SWITCH, numerics_class

    device = started(values, 4)
    os.environ[SWITCH] = "off"
    before = time.perf_counter()
    found(**{"class": numerics_class(device)[:16], "seconds": round(time.perf_counter() - before, 1)})


WORKERS: dict[str, Callable[[Values], None]] = {
    work.__name__: work for work in (steps, company, stack, fit, size, end, numerics)
}
DEFAULTS = {"device": "gpu", "backend": "jax", "small": "False", "precision": "float32", "trainer": "engine"}
DEFAULTS |= {"names": "", "stack": "1", "flags": ""}


def main(argv: Sequence[str]) -> int:
    worker, *words = argv
    WORKERS[worker](console.read_options(words, DEFAULTS, __doc__ or ""))
    return 0


if __name__ == "__main__":
    console.run(main)
