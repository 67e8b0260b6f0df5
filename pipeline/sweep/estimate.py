"""What a training will take, from the runs and sweeps that this machine trained before."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pipeline.cli.formatting import duration
from pipeline.config.run_config import RunConfig
from pipeline.models.devices import Device
from pipeline.storage import identity
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import Ledger, Sweep
from pipeline.sweep.plan import PlannedRun
from pipeline.training.result import RunResult

START_SECONDS = 12.0
"""Importing TensorFlow, compiling the first programs, opening MLflow."""

PRODUCTS_PER_SECOND = 10e9 / 3
"""Of a core, roughly."""


@dataclass(frozen=True)
class EarlierRun:
    """A finished run that an estimate is made from."""

    job: RunConfig
    numerics: dict[str, Any]
    on_this_machine: bool
    seconds: float
    size: int
    """Bytes of its folder."""


@dataclass(frozen=True)
class History:
    """The finished runs of a store, and the sweeps that this machine trained of it, the latest first."""

    runs: list[EarlierRun]
    sweeps: list[Sweep]

    @classmethod
    def of(cls, store: RunStore, records: Iterable[RunResult] | None = None) -> History:
        """`records` are all results of the store, if they have been read already."""
        here = identity.environment()
        runs = []
        for result in store.records() if records is None else records:
            if result.finished:
                same = all(result.environment.get(name) == here.get(name) for name in ("cpu", "cores", "machine"))
                size = sum(path.stat().st_size for path in store.folder(result.key).iterdir())
                seconds = result.figures.get("time/train_s", 0.0)
                runs.append(EarlierRun(result.job, result.identity["numerics"], same, seconds, size))
        sweeps = [sweep for sweep in Ledger(store) if sweep.machine == identity.machine() and sweep.trained]
        return cls(runs, sweeps)

    def run_seconds(self, new: Sequence[PlannedRun]) -> list[float | None]:
        """Seconds of training of each run; None if nothing like it was trained on this machine.

        It is the median of the same configuration, or of the most similar runs, scaled by their work. All seeds of a
        configuration have one estimate.
        """
        known: dict[tuple[str, Device], float | None] = {}
        comparable: dict[Device, list[EarlierRun]] = {}
        seconds = []
        for run in new:
            if run.device not in comparable:
                numerics = run.device.numerics()
                comparable[run.device] = [
                    other for other in self.runs if other.on_this_machine and other.numerics == numerics
                ]
            configuration = (run.job.configuration, run.device)
            if configuration not in known:
                known[configuration] = _expected(run, comparable[run.device])
            seconds.append(known[configuration])
        return seconds

    def sweep_seconds(self, new: Sequence[PlannedRun]) -> float:
        """Seconds by the wall clock of a sweep of the `new` runs. What is unlike any earlier run is estimated by its work."""
        if not new:
            return 0.0
        each = [
            work(run.job, *map(int, run.arrays.train_images.shape)) / PRODUCTS_PER_SECOND if known is None else known
            for run, known in zip(new, self.run_seconds(new), strict=True)
        ]
        return self._wall_seconds(sum(each), new)

    def _wall_seconds(self, train_seconds: float, new: Sequence[PlannedRun]) -> float:
        """Seconds by the wall clock of runs that take `train_seconds` in all, each by itself."""
        # How many times as long as its training, on all workers, a sweep took.
        factors = [
            (sweep.seconds - START_SECONDS) / (sweep.train_seconds / sweep.workers)
            for sweep in self.sweeps
            if sweep.train_seconds > 10 * sweep.workers and sweep.seconds > START_SECONDS
        ]
        overhead = max(1.0, statistics.median(factors)) if factors else 1.2
        return START_SECONDS + overhead * train_seconds / min(new[0].device.workers, len(new))

    def lines(self, new: Sequence[PlannedRun]) -> list[str]:
        """The time, memory and disk that the `new` runs are expected to take, and what each estimate rests on."""
        return [self._time(new), self._memory(new), self._disk(new)]

    def _time(self, new: Sequence[PlannedRun]) -> str:
        known = [value for value in self.run_seconds(new) if value is not None]
        if len(known) < len(new):
            unlike = len(new) - len(known)
            return f"time: not known; {unlike} runs are like none that was trained on this machine before"
        workers, wall = min(new[0].device.workers, len(new)), duration(self._wall_seconds(sum(known), new))
        training = f"{duration(sum(known))} of training, {workers} at a time"
        return f"time: about {wall} ({training}), from {len(self.runs)} runs here"

    def _memory(self, new: Sequence[PlannedRun]) -> str:
        if peak := max((sweep.peak_memory_mb for sweep in self.sweeps), default=0):
            return f"memory: about {peak / 1000:.1f} GB, as the largest sweep here"
        data = new[0].arrays
        needed = 900 + 2 * sum(array.nbytes for array in (data.train_images, data.test_images)) / 2**20
        return f"memory: about {needed / 1000:.1f} GB (no sweep here yet: libraries, and the data twice)"

    def _disk(self, new: Sequence[PlannedRun]) -> str:
        sizes = [run.size for run in self.runs if run.job.dataset.name == new[0].job.dataset.name]
        each = statistics.median(sizes) if sizes else 20_000 + len(new[0].arrays.test_labels)
        return f"disk: about {len(new) * each / 1e6:.1f} MB in runs/"


def _expected(run: PlannedRun, past: Sequence[EarlierRun]) -> float | None:
    same = [other.seconds for other in past if other.job.configuration == run.job.configuration]
    if same:
        return statistics.median(same)
    data = [other for other in past if other.job.dataset.name == run.job.dataset.name]
    if not data:
        return None
    optimizer = [other for other in data if other.job.optimizer.name == run.job.optimizer.name] or data
    samples, pixels = map(int, run.arrays.train_images.shape)
    wanted = work(run.job, samples, pixels)
    earlier = [(work(other.job, samples, pixels), other.seconds) for other in optimizer]
    closest = sorted(earlier, key=lambda pair: abs(pair[0] - wanted))[:5]
    return statistics.median(seconds * wanted / own for own, seconds in closest)


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
