"""Measure a GPU in one command with a time limit: correctness, networks per second, commands, sizes, numerics class.

    python -m benchmarks.gpu [device=gpu] [backend=jax] [minutes=7] [out=.] [parts=correctness,...] [small=false]

The parts run in order of importance and measure in separate processes (benchmarks/gpu_workers.py). Each figure is
printed and appended to OUT/gpu.txt at once, so nothing is lost if a later part fails or runs out of time. Keras and one
backend are needed, MLflow and DVC are not. TensorFlow has no stacks and no sizes. `small=true device=cpu` runs a small
version of every part, to check that it works; its figures say nothing about a GPU.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import engine, measure
from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.config import rules
from pipeline.data.arrays import load
from pipeline.models import devices


@dataclass(frozen=True)
class Context:
    """Settings of all parts: device, backend, whether to run the small version, output folder, and when time is up."""

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
        """Seconds until time is up."""
        return max(self.deadline - time.time(), 1)

    def say(self, line: str) -> None:
        print(line, flush=True)
        with (self.out / "gpu.txt").open("a") as file:
            file.write(f"{line}\n")

    def found(self, worker: str, **values: object) -> Iterator[Any]:
        """Yield what a worker in its own process finds, as it comes. Reports a worker that fails or is killed."""
        if time.time() >= self.deadline:
            self.say(f"- no time left: {worker}, {values}")
            return
        words = {"device": self.device, "backend": self.backend, "small": self.small} | values
        command = ["benchmarks.gpu_workers", worker, *(f"{name}={value}" for name, value in words.items())]
        with (self.out / "errors.log").open("a") as log:
            process = self.started(command, stdout=subprocess.PIPE, stderr=log)
        timer = threading.Timer(self.left, process.kill)
        timer.start()
        try:
            for line in process.stdout or ():
                if line.startswith("{"):
                    yield json.loads(line)
        finally:
            timer.cancel()
            if process.wait():
                self.say(f"- ended with status {process.returncode}: {' '.join(command[1:])} (errors.log)")

    def command(self, log: str, *words: str) -> tuple[float, int]:
        """Run `python -m WORDS`, with output to OUT/LOG, until time is up; return its seconds and exit status."""
        before = time.perf_counter()
        with (self.out / log).open("w") as file:
            process = self.started(words, stdout=file, stderr=subprocess.STDOUT)
            timer = threading.Timer(self.left, process.kill)
            timer.start()
            status = process.wait()
            timer.cancel()
        return time.perf_counter() - before, status

    def started(self, words: Sequence[str], **streams: Any) -> subprocess.Popen[str]:
        # Several processes share the card, so none may reserve its memory.
        environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        command = [sys.executable, "-m", *words]
        return subprocess.Popen(command, cwd=console.PROJECT, text=True, env=environment, **streams)


def correctness(context: Context) -> None:
    """Compare each optimizer after 100 steps with float64 on the CPU; check that order and other runs change no bit."""
    swept = rules.content("..", "params")["optimizer"]  # the most important first
    names = list(dict.fromkeys([*swept, *rules.options("optimizer")]))[: 2 if context.small else None]
    kinds = [("engine", precision) for precision in context.precisions] + [("reference", "float32")]
    weights: dict[tuple[str, str, str], np.ndarray] = {}

    def train(trainer: str, precision: str) -> None:
        device = "cpu" if precision == "float64" else context.device
        words = {"trainer": trainer, "precision": precision, "names": ",".join(names)}
        for line in context.found("steps", **(words | {"device": device})):
            weights[trainer, precision, line["name"]] = np.load(line["weights"])

    def company(precision: str) -> None:
        for line in context.found("company", precision=precision):
            same = "the same" if line["same"] else "NOT the same"
            context.say(f"bits of a run in another order and beside other runs of its stack, {precision}: {same}")

    with ThreadPoolExecutor(max(1, len(os.sched_getaffinity(0)) // 2)) as pool:
        tasks = [pool.submit(train, *kind) for kind in [("engine", "float64"), *kinds]]
        tasks += [pool.submit(company, precision) for precision in context.precisions]
        for task in tasks:
            task.result()
    context.say("error of the weights after 100 steps, relative to how far float64 on the CPU moved them, in ppm:")
    context.say("| optimizer | " + " | ".join(" ".join(kind) for kind in kinds) + " |")
    context.say("| --- |" + " --- |" * len(kinds))
    for name in names:
        true, begin = (weights.get(("engine", "float64", key)) for key in (name, f"{name}/start"))
        if true is None or begin is None:
            continue
        errors = []
        for kind in kinds:
            got = weights.get((*kind, name))
            error = None if got is None else np.linalg.norm(got - true) / np.linalg.norm(true - begin)
            errors.append("not there" if error is None else f"{1e6 * error:,.3g}")
        context.say(f"| {name} | {' | '.join(errors)} |")


def stacks(context: Context) -> None:
    """Measure book networks per second by stack and precision, and with `keras.fit`."""
    counts = (1, 2) if context.small else (256, 1, 16, 64, 512, 1024)

    def time_stack(stack: int, precision: str, flags: str = "") -> None:
        more = {"flags": flags} if flags else {}
        for line in context.found("stack", precision=precision, stack=stack, **more):
            context.say(
                f"book network, {' '.join(filter(None, [precision, flags]))}, stack of {stack}: {line['epoch']:.3f} s an epoch, "
                f"{stack / (line['epoch'] * engine.EPOCHS):.2f} networks a second (training alone), "
                f"compiled in {line['compile']:.1f} s"
            )

    for number, stack in enumerate(counts):
        for precision in context.precisions if context.backend == "jax" else ():
            time_stack(stack, precision)
        for line in context.found("fit") if number == 0 else ():
            context.say(f"book network, keras.fit on {context.backend}: {line['seconds']:.2f} s without compilation")
        if number == 0 and context.device == "gpu":
            # Deterministic programs take XLA's first kernel for a product instead of the fastest one; this offers cuBLAS's.
            time_stack(stack, "float32", "--xla_gpu_enable_triton_gemm=false")


def whole(context: Context) -> None:
    """Time whole commands, process start included, tracking off, and reproduce one of their runs."""
    few = ("seed=range(2)", "training.epochs=1", "model.width=16") if context.small else ()
    # Ten seeds of a shape are one stack; the default of 256 would be padded with copies.
    stack = "device.stack=2" if context.small else "device.stack=16"
    sweeps = {
        "1,000 book networks": ("experiment=book", "seed=range(1000)"),
        "the default sweep, 240 runs in stacks of 16": ("sweep=optimizers_by_width", stack),
        "overfitting, 240 runs in stacks of 16": ("sweep=overfitting", stack),
    }
    for name, words in sweeps.items():
        if time.time() >= context.deadline:
            context.say(f"- no time left: {name}")
            continue
        with tempfile.TemporaryDirectory() as folder:
            places = (f"paths.runs={folder}/runs", f"hydra.sweep.dir={folder}/multirun", "tracking=none")
            own = (f"device={context.device}", f"device.backend={context.backend}")
            log = f"{name.partition(', ')[0].replace(',', '').replace(' ', '_')}.log"
            seconds, status = context.command(log, "pipeline.train", "-m", *words, *few, *own, *places)
            small = ", in small" if context.small else ""
            done = len([*Path(folder, "runs").glob("*/result.json")])
            context.say(f"whole command, {name}{small}: {seconds:.1f} s, {done} runs, status {status}")
            if not status and "book" in name:
                run = (f"rmsprop-w{16 if context.small else 512}-d1-s1", f"runs={folder}/runs", "tracking=none")
                seconds, status = context.command("reproduce.log", "pipeline.reproduce", *run)
                context.say(f"pipeline.reproduce of one of them: {seconds:.1f} s, status {status} (0: the same bits)")


def sizes(context: Context) -> None:
    """Measure time, memory and share of the card's peak by width and depth, and what happens when memory runs out."""
    if context.backend != "jax":
        return
    for number, precision in enumerate(context.precisions[:2]):
        for line in context.found("size", precision=precision):
            context.say(
                f"width {line['width']}, depth {line['depth']}, {precision}, stack of {line['stack']}: "
                f"{1000 * line['network']:.1f} ms a network of five epochs, {line['share']:.0%} of the peak of "
                f"{line['peak']:.1f} TFLOP/s, {line['memory']:.1f} MB a network, compiled in {line['compile']:.1f} s"
            )
        for line in context.found("end") if number == 0 else ():
            what = "two runs in a stack of 4,096 that does not fit, halved until it does"
            context.say(f"{what}: {line['results']}, {line['seconds']:.1f} s")


def numerics(context: Context) -> None:
    """Compare the numerics classes found by two independent processes."""
    with ThreadPoolExecutor() as pool:
        found = [line for lines in pool.map(lambda _: list(context.found("numerics")), range(2)) for line in lines]
    if len(found) == 2:
        same = "the same" if found[0]["class"] == found[1]["class"] else "NOT the same"
        context.say(f"numerics class in two processes: {same}, {found}")


PARTS: dict[str, tuple[Callable[[Context], None], float]] = {
    "correctness": (correctness, 0.25),
    "stacks": (stacks, 0.5),
    "whole": (whole, 0.8),
    "sizes": (sizes, 0.85),
    "numerics": (numerics, 1),
}
"""In order of importance, each with the share of the total time by which it must end."""
DEFAULTS = {
    "device": "gpu",
    "backend": "jax",
    "minutes": "7",
    "out": ".",
    "small": "false",
    "parts": ",".join(PARTS),
}


def main(argv: Sequence[str]) -> int:
    values = console.read_options(argv, DEFAULTS, __doc__ or "")
    chosen = values["parts"].split(",")
    if unknown := set(chosen) - set(PARTS):
        raise UserError(f"parts={','.join(sorted(unknown))}: expected some of {', '.join(PARTS)}")
    # Report missing requirements now, not in each part.
    devices.choose(values["device"], values["backend"], "float32", True, "engine", 0, 1)
    load(console.PROJECT / "data" / "processed" / "mnist")
    out = Path(values["out"])
    out.mkdir(parents=True, exist_ok=True)
    began, seconds = time.time(), 60 * float(values["minutes"])
    context = Context(values["device"], values["backend"], values["small"] == "true", out, began)
    context.say(f"{measure.machine()}; {card()}")
    # Time that a part does not need goes to the next; with fewer parts, each gets more.
    most = max(PARTS[name][1] for name in chosen)
    for name in chosen:
        context.say(f"## {name}, after {time.time() - began:.0f} s")
        part, share = PARTS[name]
        part(replace(context, deadline=began + share / most * seconds))
    context.say(f"{time.time() - began:.0f} s in all")
    return 0


def card() -> str:
    """Return name, driver and memory of the card, from the driver's own tool."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, timeout=20).stdout.strip() or "no card"
    except (OSError, subprocess.SubprocessError):
        return "no card"


if __name__ == "__main__":
    console.run(main)
