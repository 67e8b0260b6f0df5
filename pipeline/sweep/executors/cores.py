"""Wide networks on a CPU: a process for each core, since programs of one process would wait for each other.

The engine trains a run on each core, in threads of one process. XLA hands a copy of more than one MiB to a pool of threads
that all programs of a process share (with one thread in it, since more would change bits), and the rest of the epoch goes on
there: two programs with such a copy keep one core busy. In each step the weights between two layers are copied, which the
backward pass still reads when the update writes them; up to 512 x 512 in float32 they are one MiB. A sweep with larger
ones is therefore divided into shards, which give the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from pipeline.config.run_config import RunConfig
from pipeline.sweep.executors.processes import Processes
from pipeline.sweep.plan import PlannedRun

LARGEST = 2**20
"""Bytes that XLA copies in the thread that asked for them."""

LEAST = 4e12
"""Floating-point operations below which no process is started: a minute of a core. Each process takes 10 s to start."""

PER_PROCESS = 2**30
"""Bytes of memory that a process takes besides its network: TensorFlow, data, evaluation."""


def pool(runs: Sequence[PlannedRun], memory: int) -> Processes | None:
    """A process for each run that would train at a time, if that pays; None if one process does it all.

    `memory` is that of the machine in bytes.
    """
    [device, *others] = dict.fromkeys(run.device for run in runs)
    waiting = [run for run in runs if waits_for_others(run)]
    if others or min(device.workers, len(waiting)) < 2 or sum(map(operations, waiting)) < LEAST:
        return None
    largest = max(run.parameters for run in runs)
    count = min(device.workers, len(runs), memory // (PER_PROCESS + 40 * largest))
    return Processes("cores", [{}] * count) if count > 1 else None


def waits_for_others(run: PlannedRun) -> bool:
    """Whether the program of this run goes on in the threads that it shares with others."""
    device = run.device
    if (device.kind, device.backend, device.trainer) != ("cpu", "tensorflow", "engine") or not device.xla:
        return False
    return widest(run.job) * (8 if device.precision == "float64" else 4) > LARGEST


def widest(job: RunConfig) -> int:
    """Elements of the largest weights between two hidden layers; 0 with one layer."""
    return max((a * b for a, b in pairwise(job.hidden)), default=0)


def operations(run: PlannedRun) -> float:
    """Floating-point operations of the training: two for each weight and sample forward, twice that backward."""
    return 6.0 * run.parameters * run.samples * run.job.training.epochs
