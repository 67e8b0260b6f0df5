"""A GPU in one command with a time limit: correctness, networks a second, whole commands.

    python -m benchmarks.gpu [device=gpu] [backend=jax] [minutes=7] [out=.] [small=false]

The parts run in order of worth, each in processes of its own. Each figure is appended to OUT/gpu.txt and printed when it is
there, so that a part that fails or a limit that ends it loses nothing before it. It needs Keras and one backend, not MLflow
or DVC. `small=true device=cpu` runs every part in small, to see that it works; its figures say nothing about a GPU.
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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import engine, measure
from pipeline.cli import console
from pipeline.config import rules
from pipeline.config.run_config import Dataset
from pipeline.data.arrays import load
from pipeline.models import devices
from pipeline.training.splits import Part, Split, split

STEPS, BATCH = 100, 128
MNIST = console.PROJECT / "data" / "processed" / "mnist"


@dataclass(frozen=True)
class Context:
    """What every part is told: device and backend, whether to run in small, where figures go, when the time is over."""

    device: str
    backend: str
    small: bool
    out: Path
    deadline: float

    @property
    def precisions(self) -> tuple[str, ...]:
        return ("float32", "tensorfloat32", "mixed_bfloat16") if self.device == "gpu" else ("float32", "mixed_bfloat16")

    @property
    def left(self) -> float:
        """Seconds until the time is over."""
        return max(self.deadline - time.time(), 1)

    def say(self, line: str) -> None:
        print(line, flush=True)
        with (self.out / "gpu.txt").open("a") as file:
            file.write(f"{line}\n")

    def found(self, what: str, **values: object) -> Iterator[Any]:
        """What one of the `WORKERS` finds in a process of its own, as it comes. One that fails or is late is named."""
        words = {"worker": what, "device": self.device, "backend": self.backend, "small": self.small} | values
        command = [sys.executable, "-m", "benchmarks.gpu", *(f"{name}={value}" for name, value in words.items())]
        environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        with (self.out / "errors.log").open("a") as log:
            process = subprocess.Popen(
                command, cwd=console.PROJECT, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
            )
        timer = threading.Timer(self.left, process.kill)
        timer.start()
        try:
            for line in process.stdout or ():
                if line.startswith("{"):
                    yield json.loads(line)
        finally:
            timer.cancel()
            if process.wait():
                self.say(f"- ended with status {process.returncode}: {what} (errors.log)")


def correctness(context: Context) -> None:
    """Weights after 100 steps against float64 on the CPU, every optimizer."""
    names = rules.options("optimizer")[: 2 if context.small else None]
    weights: dict[tuple[str, str], np.ndarray] = {}
    for precision in ("float64", *context.precisions):
        device = "cpu" if precision == "float64" else context.device
        for line in context.found("steps", device=device, precision=precision, names=",".join(names)):
            weights[precision, line["name"]] = np.load(line["weights"])
    context.say("error of the weights after 100 steps, relative to how far float64 on the CPU moved them, in ppm:")
    context.say("| optimizer | " + " | ".join(context.precisions) + " |")
    context.say("| --- |" + " --- |" * len(context.precisions))
    for name in names:
        true, begin = weights.get(("float64", name)), weights.get(("float64", f"{name}/start"))
        if true is None or begin is None:
            continue
        errors = []
        for precision in context.precisions:
            got = weights.get((precision, name))
            error = None if got is None else np.linalg.norm(got - true) / np.linalg.norm(true - begin)
            errors.append("not there" if error is None else f"{1e6 * error:,.3g}")
        context.say(f"| {name} | {' | '.join(errors)} |")


def stacks(context: Context) -> None:
    """Book networks a second by precision and, on JAX, by stack."""
    sizes = (1, 2) if context.small else (256, 1, 16, 64, 512, 1024)
    for precision in context.precisions:
        for stack in sizes if context.backend == "jax" else (1,):
            for line in context.found("epoch", precision=precision, stack=stack):
                context.say(
                    f"book network, {precision}, stack of {stack}: {line['epoch']:.3f} s an epoch, "
                    f"{stack / (line['epoch'] * engine.EPOCHS):.2f} networks a second, compiled in {line['compile']:.1f} s"
                )


def whole_commands(context: Context) -> None:
    """Process start included, tracking off."""
    few = ("seed=range(2)", "training.epochs=1", "device.stack=2") if context.small else ()
    sweeps = {
        "1,000 book networks": ("experiment=book", "seed=range(1000)"),
        "the default sweep, 240 runs": (
            "optimizer=sgd,momentum,rmsprop,adam,adamw,nadam",
            "model.width=16,64,256,512",
            "seed=range(10)",
        ),
    }
    for name, words in sweeps.items():
        with tempfile.TemporaryDirectory() as folder:
            places = (f"paths.runs={folder}/runs", f"hydra.sweep.dir={folder}/multirun", "tracking=none")
            own = (f"device={context.device}", f"device.backend={context.backend}")
            before = time.perf_counter()
            with (context.out / f"{name.split(',')[0].replace(' ', '_')}.log").open("w") as log:
                command = [sys.executable, "-m", "pipeline.train", "-m", *words, *few, *own, *places]
                process = subprocess.Popen(command, cwd=console.PROJECT, stdout=log, stderr=subprocess.STDOUT)
                timer = threading.Timer(context.left, process.kill)
                timer.start()
                status = process.wait()
                timer.cancel()
            small = ", in small" if context.small else ""
            context.say(f"whole command, {name}{small}: {time.perf_counter() - before:.1f} s, status {status}")


# The workers, each in a process of its own.


def started(values: dict[str, str], stack: int) -> Any:
    device = devices.choose(values["device"], values["backend"], values["precision"], True, "engine", 0, stack)
    devices.start(device)
    return device


def mnist(samples: int = 0) -> Split:
    """MNIST as the book splits it, or the first `samples` with 1,000 of the test images."""
    data = split(load(MNIST), Dataset("mnist", 0))
    if not samples:
        return data
    watched = Part(data.test.source[:1000], data.test.labels[:1000])
    train = Part(data.train.source[:samples], data.train.labels[:samples])
    return Split(train, watched, watched, "test", data.shape)


def steps(values: dict[str, str]) -> None:
    """The weights of 100 steps at batch 128 of each optimizer, from one seed."""
    from pipeline.models import initial
    from pipeline.training import trainer

    device = started(values, 2)
    data = mnist((10 if values["small"] == "True" else STEPS) * BATCH)
    folder = Path(tempfile.mkdtemp())

    def save(name: str, arrays: Sequence[np.ndarray]) -> None:
        path = folder / f"{name.replace('/', '.')}.npy"
        np.save(path, np.concatenate([np.asarray(array, np.float64).ravel() for array in arrays]))
        print(json.dumps({"name": name, "weights": str(path)}), flush=True)

    for name in values["names"].split(","):
        job = engine.job(64, name)
        job = replace(job, training=replace(job.training, epochs=1, curve_samples=1000))
        for event in trainer.train([job], data, 10, device):
            if isinstance(event, trainer.Done) and event.result.weights is not None:
                save(name, list(event.result.weights.values()))
        save(f"{name}/start", initial.weights("glorot_uniform", 0, [784, 64, 10]))


def epoch(values: dict[str, str]) -> None:
    """Seconds of an epoch of a stack of book networks, all from one seed."""
    device = started(values, int(values["stack"]))
    data = mnist(20 * BATCH) if values["small"] == "True" else mnist()
    trained = engine.on_jax if device.backend == "jax" else engine.on_tensorflow
    before = time.perf_counter()
    train, _ = next(trained(engine.job(512, "rmsprop"), data, device))
    compiling = time.perf_counter() - before
    seconds = [engine.together([train]) for _ in range(4)]
    # The first one warms up.
    print(json.dumps({"epoch": statistics.median(seconds[1:]), "compile": compiling}), flush=True)


WORKERS: dict[str, Callable[[dict[str, str]], None]] = {"steps": steps, "epoch": epoch}
DEFAULTS = {"device": "gpu", "backend": "jax", "minutes": "7", "out": ".", "small": "false"}
OF_WORKERS = {"worker": "", "precision": "float32", "names": "", "stack": "1"}


def main(argv: Sequence[str]) -> int:
    values = console.words(argv, DEFAULTS | OF_WORKERS, __doc__ or "")
    if values["worker"]:
        WORKERS[values["worker"]](values)
        return 0
    # What is missing is said now, not by each part.
    devices.choose(values["device"], values["backend"], "float32", True, "engine", 0, 1)
    load(MNIST)
    out = Path(values["out"])
    out.mkdir(parents=True, exist_ok=True)
    began, seconds = time.time(), 60 * float(values["minutes"])
    context = Context(values["device"], values["backend"], values["small"] == "true", out, began)
    context.say(f"{measure.machine()}; {card()}")
    # The most of the time that is over when a part ends.
    for part, share in {correctness: 0.3, stacks: 0.65, whole_commands: 1}.items():
        context.say(f"## {part.__name__}, after {time.time() - began:.0f} s")
        part(replace(context, deadline=began + share * seconds))
    context.say(f"{time.time() - began:.0f} s in all")
    return 0


def card() -> str:
    """The name of the card, by the driver's own tool."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, timeout=20).stdout.strip() or "no card"
    except (OSError, subprocess.SubprocessError):
        return "no card"


if __name__ == "__main__":
    console.run(main)
