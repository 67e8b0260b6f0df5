"""Everything about a GPU in one command with a time limit: correctness, networks a second, whole commands, sizes, same bits.

    python -m benchmarks.gpu [device=gpu] [minutes=7] [out=.] [parts=correctness,stacks,...] [small=false]

The parts run in order of worth, each in processes of its own. Each figure is appended to OUT/gpu.txt and printed when it is
there, so that a part that fails or a limit that ends it loses nothing before it. It needs Keras on JAX, not TensorFlow,
MLflow or DVC. `small=true device=cpu` runs every part in small, to see that it works; its figures say nothing about a GPU.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import engine, measure
from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.config.run_config import Dataset, RunConfig
from pipeline.data.arrays import load
from pipeline.training.splits import Part, Split, split

PRECISIONS = ("float32", "tensorfloat32", "mixed_bfloat16")
STEPS, BATCH = 100, 128


@dataclass(frozen=True)
class Context:
    """What every part is told: the kind of device, whether to run in small, where figures go, when the time is over."""

    device: str
    small: bool
    out: Path
    deadline: float

    @property
    def precisions(self) -> tuple[str, ...]:
        return PRECISIONS if self.device == "gpu" else ("float32", "mixed_bfloat16")

    @property
    def left(self) -> float:
        """Seconds until the time is over."""
        return self.deadline - time.time()

    def say(self, line: str) -> None:
        print(line, flush=True)
        with (self.out / "gpu.txt").open("a") as file:
            file.write(f"{line}\n")


Process = subprocess.Popen[str]


def start(context: Context, what: str, device: str, *words: str, env: dict[str, str] | None = None) -> Process:
    """One of the `WORKERS` below in a process of its own; it prints a line of JSON for each thing that it found."""
    command = [sys.executable, "-m", "benchmarks.gpu", f"worker={what}", f"device={device}", f"small={context.small}"]
    log = (context.out / "errors.log").open("a")
    return subprocess.Popen(
        [*command, *words],
        cwd=console.PROJECT,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env={**os.environ, **(env or {})},
    )


def lines(context: Context, process: Process) -> Iterator[Any]:
    """What a worker found, as it comes. A worker that fails or is late is named; what it found before stays."""
    what = list(process.args)[3]  # type: ignore[arg-type]

    timer = threading.Timer(max(context.left, 1), process.kill)
    timer.start()
    try:
        for line in process.stdout or ():
            if line.startswith("{"):
                yield json.loads(line)
    finally:
        timer.cancel()
        if process.wait():
            context.say(f"- ended with status {process.returncode}: {what!s} (errors.log)")


def found(**figures: Any) -> None:
    """A worker's line."""
    print(json.dumps(figures), flush=True)


# The parts, each in the process that was asked for.


def correctness(context: Context) -> None:
    """Weights after 100 steps against float64 on the CPU, every optimizer; and that company and order change no bit."""
    names = sorted(path.stem for path in (console.PROJECT / "conf" / "optimizer").glob("*.yaml"))
    names = names[:2] if context.small else names
    shared = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    parts = 1 if context.small else 2
    running: dict[tuple[str, str], list[Process]] = {}
    for trainer in ("engine", "reference"):
        for precision in ("float64", *context.precisions):
            device = "cpu" if precision == "float64" else context.device
            if (trainer, precision) in (("reference", "float64"), ("reference", "mixed_bfloat16")):
                continue
            words = (f"precision={precision}", f"trainer={trainer}")
            running[trainer, precision] = [
                start(context, "steps", device, *words, f"names={','.join(names[n::parts])}", env=shared)
                for n in range(parts)
            ]
    bits = start(context, "company", context.device, env=shared)
    weights: dict[tuple[str, str, str], np.ndarray] = {}
    seconds: dict[tuple[str, str], float] = {}
    for (trainer, precision), processes in running.items():
        for process in processes:
            for line in lines(context, process):
                weights[trainer, precision, line["name"]] = np.load(line["weights"])
                seconds[trainer, precision] = seconds.get((trainer, precision), 0) + line["seconds"]
    for line in lines(context, bits):
        context.say(f"same bits in another order and beside other runs, {line['precision']}: {line['same']}")
    context.say("error of the weights after 100 steps, relative to how far float64 on the CPU moved them, in ppm:")
    kinds = [kind for kind in running if kind[1] != "float64"]
    context.say("| optimizer | " + " | ".join(f"{trainer} {precision}" for trainer, precision in kinds) + " |")
    context.say("| --- |" + " --- |" * len(kinds))
    for name in names:
        true, begin = (weights.get(("engine", "float64", key)) for key in (name, f"{name}/start"))
        if true is None or begin is None:
            continue
        errors = []
        for trainer, precision in kinds:
            got = weights.get((trainer, precision, name))
            error = None if got is None else np.linalg.norm(got - true) / np.linalg.norm(true - begin)
            errors.append("not there" if error is None else f"{1e6 * error:,.3g}")
        context.say(f"| {name} | {' | '.join(errors)} |")


def stacks(context: Context) -> None:
    """Book networks a second by stack and precision, in one process that goes through the sizes; then `keras.fit`."""
    sizes = (1, 2) if context.small else (256, 1, 16, 64, 512, 1024)
    for precision in context.precisions:
        words = (f"precision={precision}", f"sizes={','.join(map(str, sizes))}")
        for line in lines(context, start(context, "stack", context.device, *words)):
            context.say(
                f"book network, {precision}, stack of {line['stack']}: {line['epoch']:.3f} s an epoch with its curve, "
                f"{line['rate']:.2f} networks a second ({line['step_us']:.0f} us a step, {line['tflops']:.1f} TFLOP/s, "
                f"{line['gbs']:.0f} GB/s of weights), compiled in {line['compile']:.1f} s"
            )
    for line in lines(context, start(context, "fit", context.device)):
        context.say(f"keras.fit on JAX, the same card: {line['seconds']:.2f} s a network (the second one)")


def whole_commands(context: Context) -> None:
    """Whole commands, process start included, tracking off."""
    thousand, few = ("seed=range(4)", "seed=range(1)") if context.small else ("seed=range(1000)", "seed=range(10)")
    short = ("training.epochs=1",) if context.small else ()
    grid = "model.width=16,64" if context.small else "model.width=16,64,256,512"
    stack = "device.stack=2" if context.small else "device.stack=0"
    small = ", in small" if context.small else ""
    sweeps = {
        "1,000 book networks": ("experiment=book", thousand),
        "the default sweep, 240 runs": ("optimizer=sgd,momentum,rmsprop,adam,adamw,nadam", grid, few),
        "overfitting in short: 4 optimizers, 3 widths, 2 sizes, 10 seeds, 50 epochs": (
            "optimizer=sgd,momentum,rmsprop,adam",
            grid.replace(",256", ""),
            "dataset.train_size=2000,10000",
            few,
            "training.epochs=50",
        ),
    }
    for name, words in sweeps.items():
        for precision in context.precisions[:2] if name.startswith("1,000") else context.precisions[:1]:
            if context.left < 15:
                return
            with tempfile.TemporaryDirectory() as folder:
                places = (f"paths.runs={folder}/runs", f"hydra.sweep.dir={folder}/multirun", "tracking=none")
                own = (f"device={context.device}", "device.backend=jax", f"device.precision={precision}", stack)
                before = time.perf_counter()
                with (context.out / f"{name.split(',')[0].replace(' ', '_')}.{precision}.log").open("w") as log:
                    command = [sys.executable, "-m", "pipeline.train", "-m", *words, *short, *own, *places]
                    process = subprocess.Popen(command, cwd=console.PROJECT, stdout=log, stderr=subprocess.STDOUT)
                    try:
                        status: int | str = process.wait(max(context.left, 1))
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.wait()
                        status = "ended by the limit"
                took = time.perf_counter() - before
                runs = sum(path.name != "sweeps" for path in Path(folder, "runs").glob("*/"))
                context.say(
                    f"whole command, {name}{small}, {precision}: {took:.1f} s, status {status}, {runs} entries in runs/"
                )
                if name.startswith("1,000") and status == 0 and precision == "float32":
                    again(context, Path(folder) / "runs")


def again(context: Context, runs: Path) -> None:
    """`pipeline.reproduce` of one of these runs, on the same card."""
    before = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.reproduce", "rmsprop-w512-d1-s1", f"runs={runs}"],
        cwd=console.PROJECT,
        capture_output=True,
        text=True,
        timeout=max(context.left, 1),
    )
    said = (done.stdout + done.stderr).strip().splitlines()[-3:]
    context.say(
        f"pipeline.reproduce: status {done.returncode}, {time.perf_counter() - before:.1f} s: {' / '.join(said)}"
    )


def sizes(context: Context) -> None:
    """Width by depth: seconds a network, share of the matrix peak, memory; and what happens where the memory ends."""
    for precision in context.precisions[:2]:
        for line in lines(context, start(context, "size", context.device, f"precision={precision}")):
            context.say(line["said"])
    for line in lines(context, start(context, "end", context.device)):
        context.say(line["said"])


def same_class(context: Context) -> None:
    """The numerics class, found twice in two processes that know of nothing."""
    env = {"OVERFITTING_GAP_CACHE": "off"}
    processes = [start(context, "numerics", context.device, env=env) for _ in range(2)]
    classes = [line for process in processes for line in lines(context, process)]
    same = len({line["class"] for line in classes}) == 1 and len(classes) == 2
    context.say(f"numerics class in two processes: {'the same' if same else 'NOT the same'}, {classes}")


PARTS: dict[str, Callable[[Context], None]] = {
    "correctness": correctness,
    "stacks": stacks,
    "whole": whole_commands,
    "sizes": sizes,
    "class": same_class,
}
SHARES = {"correctness": 0.3, "stacks": 0.35}
"""The most of the time that a part may take."""


# The workers, each in a process of its own.


def started(values: dict[str, str], precision: str, trainer: str = "engine", stack: int = 1) -> Any:
    from pipeline.models import devices

    device = devices.choose(values["device"], "jax", precision, True, trainer, 0, stack)
    devices.start(device)
    return device


def mnist(samples: int = 0, held_out: int = 0) -> Split:
    """MNIST as the book splits it, or the first `samples` with so many of the test images."""
    data = split(load(console.PROJECT / "data" / "processed" / "mnist"), Dataset("mnist", 0))
    if not samples:
        return data
    few, test = held_out or 1000, data.test
    train = Part(data.train.source[:samples], data.train.labels[:samples])
    watched = Part(test.source[:few], test.labels[:few])
    return Split(train, watched, watched, "test", (int(train.images.shape[1]),))


def shortened(job: RunConfig, **changes: Any) -> RunConfig:
    return replace(job, training=replace(job.training, **{"epochs": 1, "curve_samples": 1000, **changes}))


def flat(weights: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([np.asarray(weights[name], np.float64).ravel() for name in sorted(weights)])


def steps(values: dict[str, str]) -> None:
    """The weights of 100 steps at batch 128 of each optimizer, from one seed."""
    from pipeline.models import initial
    from pipeline.training import trainer

    device = started(values, values["precision"], values["trainer"], 2 if values["trainer"] == "engine" else 1)
    count = 10 if values["small"] == "True" else STEPS
    data = mnist(count * BATCH)
    folder = Path(tempfile.mkdtemp())
    for name in values["names"].split(","):
        before = time.perf_counter()
        job = shortened(engine.job(64, name))
        for event in trainer.train([job], data, 10, device):
            if isinstance(event, trainer.Done) and event.result.weights is not None:
                np.save(folder / f"{name}.npy", flat(event.result.weights))
                found(name=name, weights=str(folder / f"{name}.npy"), seconds=time.perf_counter() - before)
        if values["precision"] == "float64":
            kernels = initial.weights("glorot_uniform", 0, [784, 64, 10])
            names = ("hidden_1/kernel", "hidden_1/bias", "classes/kernel", "classes/bias")
            np.save(folder / f"{name}.start.npy", flat(dict(zip(names, kernels, strict=True))))
            found(name=f"{name}/start", weights=str(folder / f"{name}.start.npy"), seconds=0)


def company(values: dict[str, str]) -> None:
    """Eight runs in stacks of four, then some of them in another order beside others."""
    from pipeline.training import trainer

    precisions = PRECISIONS if values["device"] == "gpu" else ("float32",)
    for precision in precisions:
        device = started(values, precision, stack=4)
        data = mnist(20 * BATCH)
        jobs = [replace(shortened(engine.job(64, "adam")), seed=seed) for seed in range(8)]

        def train(
            chosen: list[int], data: Split = data, jobs: list[RunConfig] = jobs, device: Any = device
        ) -> dict[int, str]:
            events = trainer.train([jobs[n] for n in chosen], data, 10, device)
            return {
                chosen[event.index]: event.result.digests["final_weights"]
                for event in events
                if isinstance(event, trainer.Done)
            }

        first, second = train(list(range(8))), train([7, 2, 0, 5, 3])
        found(precision=precision, same=all(first[n] == digest for n, digest in second.items()))


def compiled(job: RunConfig, samples: Any, device: Any, stack: int) -> tuple[Any, float]:
    """A compiled program, and the seconds that compiling took."""
    from pipeline.training import stacked

    before = time.perf_counter()
    program = stacked.Program(stacked.shape_of(job), samples, 10, device, stack)
    return program, time.perf_counter() - before


def inputs_of(program: Any, job: RunConfig, data: Split) -> list[Any]:
    """The inputs of an epoch of the program's stack, all models from one seed, in up to eight orders."""
    import jax.numpy as jnp

    from pipeline.models import randomness

    stack = program.size
    begin = program.start(job)
    arrays = [
        [jnp.repeat(jnp.asarray(part)[None], stack, axis=0) for part in getattr(begin, name)] for name in vars(begin)
    ]
    orders = np.stack([randomness.order(seed, 0, len(data.train)) for seed in range(min(stack, 8))])
    order = jnp.asarray(np.resize(orders, (stack, orders.shape[1])))
    rates = jnp.full(
        (stack, program.steps), float(job.optimizer["learning_rate"] or 0), program.optimizer.learning_rate.dtype
    )
    return [*arrays, jnp.zeros(stack, program.dtype), order, rates]


def epochs(program: Any, inputs: list[Any], repeats: int) -> list[float]:
    """Seconds of each of so many epochs, after one that warms up."""
    *arrays, decay, order, rates = inputs
    seconds = []
    for _ in range(repeats + 1):
        before = time.perf_counter()
        *arrays, numbers = program.epoch(*arrays, decay, order, rates, program.samples.train)
        np.asarray(numbers)
        seconds.append(time.perf_counter() - before)
    return seconds[1:]


def stack(values: dict[str, str]) -> None:
    device = started(values, values["precision"])
    from pipeline.training.stacked import Samples

    data = mnist(20 * BATCH) if values["small"] == "True" else mnist()
    samples, job = Samples(data, 10), engine.job(512, "rmsprop")
    with ThreadPoolExecutor() as pool:
        made = list(pool.map(lambda size: compiled(job, samples, device, size), map(int, values["sizes"].split(","))))
    for program, compiling in made:
        size = program.size
        seconds = statistics.median(epochs(program, inputs_of(program, job, data), 2))
        count = len(data.train)
        step = seconds / (count / BATCH)
        flop = engine.flop(512) / engine.EPOCHS / engine.SAMPLES * count * size
        weights = 4 * size * (784 * 512 + 512 * 11 + 10)
        found(
            stack=size,
            epoch=seconds,
            rate=size / (seconds * engine.EPOCHS),
            step_us=1e6 * step,
            tflops=flop / seconds / 1e12,
            gbs=6 * weights / step / 1e9,
            compile=compiling,
        )


def fit(values: dict[str, str]) -> None:
    from pipeline.training import trainer

    device = started(values, "float32", "reference")
    small = values["small"] == "True"
    data = mnist(20 * BATCH) if small else mnist()
    job = shortened(engine.job(512, "rmsprop"), epochs=1 if small else 5)
    seconds = [
        event.result.figures["time/train_s"]
        for event in trainer.train([job, replace(job, seed=1)], data, 10, device)
        if isinstance(event, trainer.Done)
    ]
    found(seconds=seconds[-1])


def peak(precision: str) -> float:
    """TFLOP/s of a large product in the precision that the programs ask for."""
    import jax
    import jax.numpy as jnp

    size = 512 if jax.default_backend() == "cpu" else 8192
    dtype = "bfloat16" if precision == "mixed_bfloat16" else "float32"
    left, right = (jax.random.normal(jax.random.key(n), (size, size), dtype=jnp.dtype(dtype)) for n in range(2))
    product = jax.jit(lambda a, b: a @ b)
    product(left, right).block_until_ready()
    seconds = []
    for _ in range(5):
        before = time.perf_counter()
        product(left, right).block_until_ready()
        seconds.append(time.perf_counter() - before)
    return 2 * size**3 / statistics.median(seconds) / 1e12


def size(values: dict[str, str]) -> None:
    """100 steps of stacks of networks from width 16 to 2,048 at depth 1 to 5; programs compile on all cores meanwhile."""
    import jax

    precision, small = values["precision"], values["small"] == "True"
    device = started(values, precision)
    from pipeline.training.stacked import Samples

    top = peak(precision)
    found(said=f"peak of a large product, {precision}: {top:.1f} TFLOP/s")
    grid = [(16, 1), (64, 1), (512, 1), (2048, 1), (16, 3), (512, 3), (2048, 3), (16, 5), (512, 5), (2048, 5)]
    grid = grid[:2] if small else grid
    data = mnist((5 if small else STEPS) * BATCH)

    samples = Samples(data, 10)

    def build(shape: tuple[int, int]) -> tuple[Any, RunConfig]:
        width, depth = shape
        job = engine.job(width, "rmsprop")
        job = shortened(replace(job, model=replace(job.model, hidden=(width,) * depth)))
        return compiled(job, samples, device, 2 if small else 64 if width == 2048 else 256)[0], job

    with ThreadPoolExecutor() as pool:
        for (width, depth), future in [(shape, pool.submit(build, shape)) for shape in grid]:
            program, job = future.result()
            inputs, count = inputs_of(program, job, data), program.size
            seconds = statistics.median(epochs(program, inputs, 3))
            widths = [784, *(width,) * depth, 10]
            products = [a * b for a, b in pairwise(widths)]
            seen = len(data.train)
            flop = 2 * seen * (3 * sum(products) - products[0])
            network = seconds * engine.EPOCHS * engine.SAMPLES / seen / count
            memory = program.epoch.memory_analysis()
            held = (memory.argument_size_in_bytes + memory.temp_size_in_bytes) / 1e6 / count if memory else float("nan")
            found(
                said=f"width {width}, depth {depth}, {precision}, stack of {count}: {1000 * network:.1f} ms a network of five epochs, "
                f"{100 * count * flop / seconds / 1e12 / top:.0f} % of the peak, {held:.1f} MB a network"
            )
            del inputs
    stats = jax.devices()[0].memory_stats() or {}
    found(
        said=f"most memory held at once: {stats.get('peak_bytes_in_use', 0) / 1e9:.1f} GB of {stats.get('bytes_limit', 0) / 1e9:.0f}"
    )


def end(values: dict[str, str]) -> None:
    """A stack that no card holds: halved until it fits."""
    from pipeline.training import trainer

    small = values["small"] == "True"
    device = started(values, "float32", stack=4 if small else 2048)
    job = engine.job(16 if small else 2048, "rmsprop")
    job = shortened(replace(job, model=replace(job.model, hidden=job.model.hidden * 3)))
    before = time.perf_counter()
    events = trainer.train([job, replace(job, seed=1)], mnist(20 * BATCH), 10, device)
    results = [event.result for event in events if isinstance(event, trainer.Done)]
    said = [(result.status, result.reason, result.identity) for result in results]
    found(
        said=f"three layers of {job.model.hidden[0]}, stack of {device.stack} asked for: {said}, {time.perf_counter() - before:.1f} s"
    )


def numerics(values: dict[str, str]) -> None:
    from pipeline.storage.numerics import numerics_class

    device = started(values, "float32", stack=4)
    before = time.perf_counter()
    found(**{"class": numerics_class(device)[:16], "seconds": round(time.perf_counter() - before, 1)})


WORKERS: dict[str, Callable[[dict[str, str]], None]] = {
    "steps": steps,
    "company": company,
    "stack": stack,
    "fit": fit,
    "size": size,
    "end": end,
    "numerics": numerics,
}

DEFAULTS = {"device": "gpu", "minutes": "7", "out": ".", "parts": ",".join(PARTS), "small": "false"}
OF_WORKERS = {"worker": "", "precision": "float32", "trainer": "engine", "names": "", "sizes": ""}


def main(argv: Sequence[str]) -> int:
    values = console.words(argv, DEFAULTS | OF_WORKERS, __doc__ or "")
    if values["worker"]:
        WORKERS[values["worker"]](values)
        return 0
    out = Path(values["out"])
    out.mkdir(parents=True, exist_ok=True)
    began = time.time()
    context = Context(values["device"], values["small"] == "true", out, began + 60 * float(values["minutes"]))
    context.say(f"{measure.machine()}; {card()}")
    for name in values["parts"].split(","):
        if name not in PARTS:
            raise UserError(f"parts={name}: expected some of {', '.join(PARTS)}")
        context.say(f"## {name}, after {time.time() - began:.0f} s")
        try:
            most = time.time() + 60 * float(values["minutes"]) * SHARES.get(name, 1)
            PARTS[name](replace(context, deadline=min(context.deadline, most)))
        except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
            context.say(f"- {name} ended early: {type(error).__name__}: {error}")
        if context.left < 5:
            context.say("the time is over")
            break
    context.say(f"{time.time() - began:.0f} s in all")
    return 0


def card() -> str:
    """The name of the card, by the driver's own tool."""
    try:
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        return subprocess.run(query, capture_output=True, text=True, timeout=20).stdout.strip() or "no card"
    except (OSError, subprocess.SubprocessError):
        return "no card"


if __name__ == "__main__":
    console.run(main)
