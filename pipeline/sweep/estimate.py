"""How long runs take to train, from the runs that were trained on this machine before."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pipeline.cli.formatting import duration
from pipeline.config.run_config import RunConfig
from pipeline.models.devices import Device
from pipeline.storage import identity
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import Sweep
from pipeline.sweep.plan import PlannedRun
from pipeline.training.result import RunResult

START_SECONDS = 12.0
"""Importing TensorFlow, compiling the first programs, opening MLflow."""


@dataclass(frozen=True)
class EarlierRun:
    """A finished run that an estimate is made from."""

    job: RunConfig
    numerics: dict[str, Any]
    on_this_machine: bool
    seconds: float
    size: int
    """Bytes of its folder."""


def earlier(store: RunStore, records: Iterable[RunResult] | None = None) -> Iterator[EarlierRun]:
    now = identity.environment()
    for result in store.records() if records is None else records:
        if result.finished:
            same = all(result.environment.get(name) == now.get(name) for name in ("cpu", "cores", "machine"))
            size = sum(path.stat().st_size for path in store.folder(result.key).iterdir())
            seconds = result.figures.get("time/train_s", 0.0)
            yield EarlierRun(result.job, result.identity["numerics"], same, seconds, size)


def estimate_lines(new: Sequence[PlannedRun], past: Sequence[EarlierRun], sweeps: Sequence[Sweep]) -> list[str]:
    """The time, memory and disk that the `new` runs are expected to take, and what each estimate rests on."""
    return [_time(new, past, sweeps), _memory(new, sweeps), _disk(new, past)]


def _time(new: Sequence[PlannedRun], past: Sequence[EarlierRun], sweeps: Sequence[Sweep]) -> str:
    known = [value for value in expected_seconds(new, past) if value is not None]
    if len(known) < len(new):
        unlike = len(new) - len(known)
        return f"time: not known; {unlike} runs are like none that was trained on this machine before"
    workers, wall = min(new[0].device.workers, len(new)), duration(wall_seconds(known, new, sweeps))
    return f"time: about {wall} ({duration(sum(known))} of training, {workers} at a time), from {len(past)} runs here"


def _memory(new: Sequence[PlannedRun], sweeps: Sequence[Sweep]) -> str:
    peak = max((sweep.peak_memory_mb for sweep in sweeps), default=0)
    if peak:
        return f"memory: about {peak / 1000:.1f} GB, as the largest sweep here"
    data = new[0].arrays
    needed = 900 + 2 * sum(array.nbytes for array in (data.train_images, data.test_images)) / 2**20
    return f"memory: about {needed / 1000:.1f} GB (no sweep here yet: libraries, and the data twice)"


def _disk(new: Sequence[PlannedRun], past: Sequence[EarlierRun]) -> str:
    sizes = [run.size for run in past if run.job.dataset.name == new[0].job.dataset.name]
    each = statistics.median(sizes) if sizes else 20_000 + len(new[0].arrays.test_labels)
    return f"disk: about {len(new) * each / 1e6:.1f} MB in runs/"


def wall_seconds(seconds: Sequence[float], new: Sequence[PlannedRun], sweeps: Sequence[Sweep]) -> float:
    """Seconds by the wall clock of a sweep whose runs take `seconds` each by themselves."""
    return START_SECONDS + _overhead(sweeps) * sum(seconds) / min(new[0].device.workers, len(new))


def _overhead(sweeps: Sequence[Sweep]) -> float:
    """How many times as long as its training, on all workers, a sweep took."""
    factors = [
        (sweep.seconds - START_SECONDS) / (sweep.train_seconds / sweep.workers)
        for sweep in sweeps
        if sweep.train_seconds > 10 * sweep.workers and sweep.seconds > START_SECONDS
    ]
    return max(1.0, statistics.median(factors)) if factors else 1.2


def expected_seconds(new: Sequence[PlannedRun], past: Sequence[EarlierRun]) -> list[float | None]:
    """Seconds of training of each run: the median of the same configuration on this machine, or of the most similar one,
    scaled by its work. None if nothing like it was trained. All seeds of a configuration have one estimate."""
    known: dict[tuple[str, Device], float | None] = {}
    alike: dict[Device, list[EarlierRun]] = {}
    seconds = []
    for run in new:
        if run.device not in alike:
            numerics = run.device.numerics()
            alike[run.device] = [other for other in past if other.on_this_machine and other.numerics == numerics]
        configuration = (run.job.configuration, run.device)
        if configuration not in known:
            known[configuration] = _expected(run, alike[run.device])
        seconds.append(known[configuration])
    return seconds


def _expected(run: PlannedRun, past: Sequence[EarlierRun]) -> float | None:
    same = [other.seconds for other in past if other.job.configuration == run.job.configuration]
    if same:
        return statistics.median(same)
    data = [other for other in past if other.job.dataset.name == run.job.dataset.name]
    if not data:
        return None
    samples, pixels = map(int, run.arrays.train_images.shape)
    optimizer = [other for other in data if other.job.optimizer.name == run.job.optimizer.name] or data
    wanted = work(run.job, samples, pixels)
    distances = [abs(work(other.job, samples, pixels) - wanted) for other in optimizer]
    least = min(distances)
    return statistics.median(
        other.seconds * wanted / work(other.job, samples, pixels)
        for other, distance in zip(optimizer, distances, strict=True)
        if distance == least
    )


def work(job: RunConfig, samples: int, pixels: int) -> float:
    """Multiplications of a training, on a data set with so many training samples, and all that takes as long.

    A sample is gathered and evaluated too; a step of the optimizer reads and writes every weight, however few samples
    its batch has.
    """
    used = job.dataset.train_size or samples - job.dataset.validation_size
    sizes = [pixels, *job.model.hidden, 10]
    products = sum(a * b for a, b in pairwise(sizes))
    steps = math.ceil(used / job.training.batch_size)
    return float(job.training.epochs * (used * (products + 20_000) + steps * (8 * products + 150_000)))
