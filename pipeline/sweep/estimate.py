"""What a command would train (`plan=true`), and the estimated time, from finished runs of this machine."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from pipeline.cli.formatting import duration, plural, ranged
from pipeline.config.names import configuration_name
from pipeline.config.run_config import RunConfig
from pipeline.storage import identity
from pipeline.storage.store import RunStore
from pipeline.sweep import changes
from pipeline.sweep.executors.shards import divide, sizes
from pipeline.sweep.plan import Plan, PlannedRun, counts, look_up, store_root, to_train
from pipeline.sweep.pool import Pool
from pipeline.training.result import RunResult

START_SECONDS = 12.0
"""Seconds to import TensorFlow, compile the first programs and open MLflow."""

OVERHEAD = 1.2
"""Rough ratio of the time of a sweep to the time of its training."""

PRODUCTS_PER_SECOND = 10e9 / 3
"""Rough number of multiplications per second of a core, in the unit of `work`."""

FEWEST = 3
"""Minimum number of seeds of a published recipe."""

Needed = Mapping[str, Sequence[float]]
"""Epochs of finished runs, by configuration."""


class History:
    """The finished runs of this machine among `records`."""

    def __init__(self, records: Iterable[RunResult]) -> None:
        here = identity.environment()
        self.runs = [
            result
            for result in records
            if result.finished
            and all(result.environment.get(name) == here.get(name) for name in ("cpu", "cores", "machine"))
        ]
        self.needed: dict[str, list[float]] = {}
        for result in self.runs:
            self.needed.setdefault(result.job.configuration, []).append(trained(result))
        self._known: dict[tuple[object, str], float | None] = {}

    def seconds(self, run: PlannedRun) -> float | None:
        """Return the estimated seconds of training, the same for all seeds of a configuration; None without a similar run."""
        kind = run.device, run.job.configuration
        if kind not in self._known:
            self._known[kind] = self._estimate(run)
        return self._known[kind]

    def _estimate(self, run: PlannedRun) -> float | None:
        """Return the estimate from the median pace of the five runs on the same data and device with the most similar work."""
        numerics, samples, pixels = run.identity["numerics"], *map(int, run.arrays.train_images.shape)
        wanted = work(run.job, samples, pixels)
        like = [
            (
                other.job.optimizer.name != run.job.optimizer.name,
                abs(own - wanted),
                other.metrics["time/train_s"] / (own * trained(other)),
            )
            for other in self.runs
            if other.job.dataset.name == run.job.dataset.name and other.identity["numerics"] == numerics
            if (own := work(other.job, samples, pixels)) and trained(other)
        ]
        if not like:
            return None
        return epochs(run.job, self.needed) * wanted * statistics.median(pace for *_, pace in sorted(like)[:5])

    def line(self, new: Sequence[PlannedRun]) -> str:
        """Return a line on the expected time of the `new` runs and its basis."""
        known = [seconds for run in new if (seconds := self.seconds(run)) is not None]
        if len(known) < len(new):
            unlike = plural(len(new) - len(known), "run")
            return f"time: not known; {unlike} of a kind that was not trained on this machine before"
        at_a_time = min(new[0].device.workers, len(new))
        training = f"{duration(sum(known))} of training, {at_a_time} at a time"
        about = "at most" if any(may_end_sooner(run.job, self.needed) for run in new) else "about"
        return f"time: {about} {duration(self.sweep_seconds(new))} ({training}), from {len(self.runs)} runs here"

    def sweep_seconds(self, new: Sequence[PlannedRun]) -> float:
        """Return the expected wall-clock seconds of the `new` runs. Runs unlike any earlier one are estimated by their work."""
        if not new:
            return 0.0
        total = 0.0
        for run in new:
            known = self.seconds(run)
            total += run.job.training.epochs * work_of(run) / PRODUCTS_PER_SECOND if known is None else known
        return START_SECONDS + OVERHEAD * total / min(new[0].device.workers, len(new))


def affordable(runs: Sequence[PlannedRun], seeds: int, left: float, store: RunStore) -> tuple[int, float]:
    """Return the largest number of seeds, up to `seeds`, that fits into `left` seconds, and its time; 0 below FEWEST."""
    new = [run for run in runs if run.key not in store]
    history, cost = History(store.records()), 0.0
    for count in range(seeds, min(FEWEST, seeds) - 1, -1):
        cost = history.sweep_seconds([run for run in new if run.job.seed < count])
        if cost <= max(left, 0.0):
            return count, cost
    return 0, cost


def trained(result: RunResult) -> float:
    """Return the epochs that a run trained."""
    return result.metrics.get("time/epochs", result.epochs[-1] if result.epochs else 0)


def epochs(job: RunConfig, needed: Needed) -> float:
    """Return the epochs that a run will train: as many as finished runs of its configuration needed, else all."""
    return statistics.median(needed.get(job.configuration, [job.training.epochs]))


def may_end_sooner(job: RunConfig, needed: Needed) -> bool:
    """Whether a run may stop early, and no finished run of its configuration says when."""
    training = job.training
    return job.configuration not in needed and (training.stop_at_loss is not None or training.patience > 0)


def work_of(run: PlannedRun) -> float:
    return work(run.job, *map(int, run.arrays.train_images.shape))


def work(job: RunConfig, samples: int, pixels: int) -> float:
    """Multiplications of an epoch, on a data set with so many training samples, and all that takes as long.

    A sample is gathered and evaluated too; a step of the optimizer reads and writes every weight, however few samples
    its batch has.
    """
    used = job.dataset.train_size or samples - job.dataset.validation_size
    products = sum(a * b for a, b in pairwise([pixels, *job.hidden, 10]))
    steps = math.ceil(used / job.training.batch_size)
    return float(used * (products + 20_000) + steps * (8 * products + 150_000))


def show_plan(asked: Plan, settings: Mapping[str, Any], pool: Pool | None = None) -> None:
    """Print which runs are stored, which would be trained, and the expected time. Write nothing."""
    store = RunStore(store_root(settings["paths"]["runs"]))
    plan = look_up(asked, store, settings, single=len(asked) == 1)
    new = to_train(plan)
    print(f"plan of {plural(len(plan), 'run')}: {counts(plan)}; {len(new) or 'nothing'} to train")
    if not new:
        return
    for line in table(plan):
        print(f"  {line}")
    records = list(store.records())
    for line in (*why_new(new, records), History(records).line(new)):
        print(line)
    if pool:
        divided = divide(new, pool.shards(len(new)))
        print(f"shares: {len(divided)} of {sizes(divided)}, by {pool.kind}")


def table(plan: Sequence[PlannedRun]) -> list[str]:
    """Return a line per configuration: its name, the seeds to train, the stored seeds."""
    groups: dict[str, list[PlannedRun]] = {}
    for run in plan:
        groups.setdefault(configuration_name(run.name), []).append(run)
    width = max(map(len, groups))
    lines = []
    for name, group in groups.items():
        train = [run.job.seed for run in group if run.stored is None]
        there = [run.job.seed for run in group if run.stored is not None]
        seeds = [
            f"{what} {'seeds' if len({*found}) > 1 else 'seed'} {ranged(found)}"
            for what, found in (("train", train), ("there:", there))
            if found
        ]
        lines.append(f"{name:<{width}}  {'; '.join(seeds)}")
    return lines


def why_new(new: Sequence[PlannedRun], records: Iterable[RunResult]) -> list[str]:
    """Return a line per reason why stored runs of these configurations do not count, with the number of runs."""
    stored: dict[RunConfig, list[RunResult]] = {}
    for result in records:
        if result.finished:
            stored.setdefault(result.job, []).append(result)
    reasons = Counter(
        # Of several stored runs, the one that differs least.
        min((tuple(changes.of_identity(result, run.identity)) for result in stored[run.job]), key=len)
        for run in new
        if run.job in stored
    )
    return [
        f"{count} of these {'is' if count == 1 else 'are'} stored but cannot count, since this has changed: {'; '.join(lines)}"
        for lines, count in reasons.items()
    ]
