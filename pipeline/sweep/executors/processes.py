"""A pool of processes on this machine, one for each GPU or core. They end with the command that started them.

GPUs: where a sweep trains on GPUs and there are several, each process sees one of them (`device.gpus`).

Cores: wide networks on a CPU, since programs of one process would wait for each other. The engine trains a run on each core,
in threads of one process. XLA hands a copy of more than one MiB to a pool of threads that all programs of a process share
(with one thread in it, since more would change bits), and the rest of the epoch goes on there: two programs with such a copy
keep one core busy. In each step the weights between two layers are copied, which the backward pass still reads when the
update writes them; up to 512 x 512 in float32 they are one MiB. A sweep with larger ones is divided into shards, which give
the same bits.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise, takewhile
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from pipeline.cli.console import PROJECT
from pipeline.sweep.plan import PlannedRun, total_memory

WORKER = "pipeline.sweep.executors.worker"

ENDING_SECONDS = 30.0
"""Seconds that workers get to end after a signal."""

DRIVER = Path("/proc/driver/nvidia/gpus")
"""The NVIDIA driver has a folder per GPU here; libraries would have to load CUDA."""

VISIBLE = "CUDA_VISIBLE_DEVICES"

LARGEST = 2**20
"""Largest number of bytes that XLA copies within the calling thread."""

LEAST = 4e12
"""Number of floating-point operations, about a minute of a core, below which processes do not pay: each takes 10 s to start."""

PER_PROCESS = 2**30
"""Bytes of memory of a process besides its network: TensorFlow, data, evaluation."""


class Processes:
    """A pool (see `pipeline.sweep.pool.Pool`) with one process per environment."""

    cpus = 1
    poll_seconds = 0.3

    def __init__(
        self, kind: str, environments: Sequence[Mapping[str, str]], gpus: int = 0, workers: int | None = None
    ) -> None:
        """`environments` are the variables that each process has in addition to those of this process."""
        self.kind, self.environments, self.gpus, self.workers = kind, environments, gpus, workers
        self._workers: dict[str, psutil.Popen] = {}
        self._logs: dict[str, Path] = {}

    def shards(self, runs: int) -> int:
        return min(runs, len(self.environments))

    def start(self, sweep: str, files: Sequence[Path]) -> list[str]:
        try:
            return [self._start(*each) for each in zip(files, self.environments, strict=False)]
        except BaseException:
            self.cancel(sweep)
            raise

    def _start(self, file: Path, environment: Mapping[str, str]) -> str:
        log = file.with_suffix(".log")
        with open(log, "ab") as out:
            process = psutil.Popen(
                [sys.executable, "-m", WORKER, str(file)],
                cwd=PROJECT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                # In a session of its own: Ctrl-C is for the command, which then tells its workers.
                start_new_session=True,
            )
        job = str(process.pid)
        self._workers[job], self._logs[job] = process, log
        return job

    def alive(self, sweep: str) -> set[str]:
        return {job for job, process in self._workers.items() if process.poll() is None}

    def end_of(self, job: str) -> str:
        status = self._workers[job].poll()
        if not status:
            return ""
        return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"

    def log(self, job: str) -> str:
        return str(self._logs[job])

    def cancel(self, sweep: str) -> None:
        running = [self._workers[job] for job in self.alive(sweep)]
        for process in running:
            process.terminate()
        _, left = psutil.wait_procs(running, ENDING_SECONDS)
        for process in left:
            process.kill()
        psutil.wait_procs(left, ENDING_SECONDS)


def of_this_machine(runs: Sequence[PlannedRun], gpus: int) -> Processes | None:
    """Return a pool for the GPUs (at most `gpus`, 0 for all) or cores that one process would leave idle, or None."""
    return for_gpus(runs, gpus) or for_cores(runs, total_memory())


def for_gpus(runs: Sequence[PlannedRun], most: int) -> Processes | None:
    """Return a process per GPU, at most `most` (0 for all), if there are several GPUs and several runs, else None."""
    if any(run.device.kind != "gpu" for run in runs):
        return None
    found = visible_gpus()[: most or None][: len(runs)]
    return Processes("gpus", [{VISIBLE: gpu} for gpu in found], gpus=1) if len(found) > 1 else None


def visible_gpus() -> list[str]:
    """Return the visible GPUs, by the names that CUDA_VISIBLE_DEVICES takes."""
    value = os.environ.get(VISIBLE)
    if value is None:
        return [str(number) for number in range(len(list(DRIVER.glob("*"))))]
    devices = (device.strip() for device in value.split(","))
    found = takewhile(lambda device: device not in ("", "-1"), devices)  # CUDA ignores all that follows
    return list(dict.fromkeys(found))


def for_cores(runs: Sequence[PlannedRun], memory: int) -> Processes | None:
    """A process for each run that would train at a time, if that pays; None if one process does it all.

    `memory` is that of the machine in bytes.
    """
    [device, *others] = dict.fromkeys(run.device for run in runs)
    waiting = [run for run in runs if waits_for_others(run)]
    if others or min(device.workers, len(waiting)) < 2 or sum(map(operations, waiting)) < LEAST:
        return None
    largest = max(run.parameters for run in runs)
    count = min(device.workers, len(runs), memory // (PER_PROCESS + 40 * largest))
    return Processes("cores", [{}] * count, workers=1) if count > 1 else None


def waits_for_others(run: PlannedRun) -> bool:
    """Whether the program of this run continues in threads that it shares with other programs."""
    device = run.device
    if (device.kind, device.backend, device.trainer) != ("cpu", "tensorflow", "engine") or not device.xla:
        return False
    widest = max((a * b for a, b in pairwise(run.job.hidden)), default=0)
    return widest * (8 if device.precision == "float64" else 4) > LARGEST


def operations(run: PlannedRun) -> float:
    """Return the floating-point operations of the training: two per weight and sample forward, twice that backward."""
    return 6.0 * run.parameters * run.samples * run.job.training.epochs
