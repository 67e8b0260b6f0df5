"""Wide networks on a CPU: a process for each core, where programs of one process would wait for each other.

The engine trains a run on each core, in threads of one process. XLA hands a copy of more than one MiB to the pool of threads
that all programs of a process share (with one thread in it, since more would change bits), and the rest of an epoch goes
on there: two programs with such a copy keep one core busy. What is copied in each step are the weights between two layers,
which the backward pass still reads when the update writes them; up to 512 x 512 in float32 they are one MiB. A
sweep with more than that in it is therefore divided among processes, by the same shares that a cluster gets, to the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from pipeline.config.job import Job
from pipeline.models import dense
from pipeline.sweep.planned import Planned
from pipeline.sweep.processes import Processes

LARGEST = 2**20
"""Bytes that XLA copies at once, in the thread that asked for them."""

LEAST = 4e12
"""Floating-point operations below which no process is started: a minute of a core. Each one costs 10 s, libraries and all."""

PER_PROCESS = 2**30
"""Bytes of memory that a process takes besides its network: TensorFlow, data, evaluation."""


class Cores(Processes):
    """A pool of subprocesses, each of which trains one run at a time."""

    kind = "cores"
    gpus = 0

    def __init__(self, count: int) -> None:
        super().__init__([str(number) for number in range(count)])
        self.cpus = 1


def pool(runs: Sequence[Planned], memory: int | None) -> Cores | None:
    """A worker for each run that would train at a time, where it pays; None where one process does it all.

    `memory` is that of the machine in bytes, None where it is not known.
    """
    [device, *others] = dict.fromkeys(one.device for one in runs)
    waiting = [one for one in runs if hands_over(one)]
    if others or min(device.workers, len(waiting)) < 2:
        return None
    if sum(operations(one) for one in waiting) < LEAST:
        return None
    count = min(device.workers, len(runs))
    if memory is not None:
        largest = max(dense.parameters(one.job.model, *_sizes(one)) for one in runs)
        count = min(count, memory // (PER_PROCESS + 40 * largest))
    return Cores(count) if count > 1 else None


def alone(runs: Sequence[Planned]) -> None:
    """Have these trained by a process that trains one run at a time: no result depends on that, nor any key."""
    for one in runs:
        one.device = replace(one.device, workers=1)


def hands_over(one: Planned) -> bool:
    """Whether the program of this run goes on in the threads that it shares with others."""
    device = one.device
    if (device.kind, device.backend, device.trainer) != ("cpu", "tensorflow", "engine") or not device.xla:
        return False
    return widest(one.job) * (8 if device.precision == "float64" else 4) > LARGEST


def widest(job: Job) -> int:
    """Elements of the largest weights between two hidden layers; 0 with one layer."""
    return max((a * b for a, b in pairwise(job.model.hidden)), default=0)


def operations(one: Planned) -> float:
    """Floating-point operations of the training: two for each weight and sample forward, twice that backward."""
    samples = one.job.dataset.train_size or len(one.arrays.train_labels) - one.job.dataset.validation_size
    return 6.0 * dense.parameters(one.job.model, *_sizes(one)) * samples * one.job.training.epochs


def _sizes(one: Planned) -> tuple[int, int]:
    return one.arrays.train_images.shape[1], one.arrays.classes
