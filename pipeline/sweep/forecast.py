"""`plan=true`: what a command would train, and what that would take, from earlier runs on this machine."""

from __future__ import annotations

import math
import os
import shutil
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.formatting import duration
from pipeline.config.compose import ConfigurationError
from pipeline.config.job import Job
from pipeline.models import dense
from pipeline.storage import identity
from pipeline.storage.store import RunStore
from pipeline.storage.sweep import Ledger, Sweep
from pipeline.training.result import Result

if TYPE_CHECKING:
    from pipeline.models.devices import Device
    from pipeline.sweep.batch import Planned

START_SECONDS = 12.0
"""Importing TensorFlow, compiling the first programs, opening MLflow: where no earlier sweep tells better."""


@dataclass(frozen=True)
class Earlier:
    """A finished run of before: what a prediction is made from."""

    job: Job
    numerics: dict[str, Any]
    here: bool
    seconds: float
    size: int


def show(planned: Sequence[Planned], counts: dict[str, int], store: RunStore) -> None:
    """Say which runs are there, which would be trained, and what they would take. Writes nothing."""
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    new = {one.key: one for one in planned if one.result is None}
    print(f"plan of {len(planned)} run{'s' if len(planned) > 1 else ''}: {told}; {len(new) or 'nothing'} to train")
    if not new:
        return
    for line in table(planned):
        print(f"  {line}")
    records = list(store.records())
    for line in why_new(list(new.values()), records):
        print(line)
    past = list(earlier(store, records))
    sweeps = [sweep for sweep in Ledger(store) if sweep.machine == identity.machine() and sweep.trained]
    for line in predict(list(new.values()), past, sweeps):
        print(line)


def table(planned: Sequence[Planned]) -> list[str]:
    """A line per configuration: its name, the seeds that are there, the seeds to train."""
    groups: dict[str, list[Planned]] = {}
    for one in planned:
        groups.setdefault(one.job.configuration, []).append(one)
    named: dict[str, list[Job]] = {}
    for group in groups.values():
        named.setdefault(group[0].job.name.rpartition("-s")[0], []).append(group[0].job)
    rows = []
    for group in groups.values():
        name = group[0].job.name.rpartition("-s")[0]
        there = sorted({one.job.seed for one in group if one.result is not None})
        train = sorted({one.job.seed for one in group if one.result is None})
        words = [
            f"{what} seed{'s' if len(seeds) > 1 else ''} {ranges(seeds)}"
            for what, seeds in (("train", train), ("there:", there))
            if seeds
        ]
        rows.append((name, differences(group[0].job, named[name]), "; ".join(words)))
    names = max(len(name) for name, _, _ in rows)
    return [f"{name:<{names}}  {words}{f'  ({own})' if own else ''}" for name, own, words in rows]


def differences(job: Job, like: Sequence[Job]) -> str:
    """What its name does not say of a configuration, where another one of the command, of those `like` it, has the same name."""
    if len(like) == 1:
        return ""
    others = [other.flat() for other in like]
    return ", ".join(
        f"{key}={value}"
        for key, value in job.flat().items()
        if key != "seed" and any(other.get(key) != value for other in others)
    )


def ranges(numbers: Sequence[int]) -> str:
    """`0-3, 7` for 0, 1, 2, 3, 7."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in spans)


def why_new(new: Sequence[Planned], records: Iterable[Result]) -> list[str]:
    """Why stored runs of the same jobs do not count: what is another one now, and of how many runs, a line each."""
    stored: dict[Job, list[Result]] = {}
    for result in records:
        if result.finished:
            stored.setdefault(result.job, []).append(result)
    reasons = Counter(
        # Of several, the one that differs in the least.
        min((changed(result, one.identity) for result in stored[one.job]), key=len)
        for one in new
        if one.job in stored
    )
    return [
        f"{count} of these {'is' if count == 1 else 'are'} stored but cannot count, since this has changed: {'; '.join(lines)}"
        for lines, count in reasons.items()
    ]


def changed(then: Result, now: Mapping[str, Any]) -> tuple[str, ...]:
    """What of a run's identity is another one `now`: files of the code, data, numerics; else the configuration's fields."""
    lines = []
    if then.identity["source"] != now["source"]:
        here = identity.sources()
        names = sorted(name for name in {*then.sources, *here} if then.sources.get(name) != here.get(name))
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        lines.append(", ".join(f"pipeline/{name}" for name in names[:4]) + more or "the code")
    if then.identity["data"] != now["data"]:
        lines.append(f"the data of {then.job.dataset.name}")
    was, numerics = then.identity["numerics"], now["numerics"]
    lines += [f"{name} ({was.get(name)} then)" for name in numerics if was.get(name) != numerics[name]]
    return tuple(lines) or ("the configuration has other fields",)


def earlier(store: RunStore, records: Iterable[Result] | None = None) -> Iterable[Earlier]:
    for result in store.records() if records is None else records:
        if result.finished:
            size = sum(path.stat().st_size for path in store.folder(result.key).iterdir())
            seconds = result.figures.get("time/train_s", 0.0)
            yield Earlier(result.job, result.identity["numerics"], _here(result), seconds, size)


def _here(result: Result) -> bool:
    known, here = result.environment, identity.environment()
    return all(known.get(name) == here.get(name) for name in ("cpu", "cores", "machine"))


def predict(new: Sequence[Planned], past: Sequence[Earlier], sweeps: Sequence[Sweep]) -> list[str]:
    """The predicted time, memory and disk, and what each prediction rests on."""
    lines = []
    seconds = expected_seconds(new, past)
    known = [value for value in seconds if value is not None]
    if len(known) < len(new):
        lines.append(
            f"time: not known; {len(new) - len(known)} runs are like none that was trained on this machine before"
        )
    else:
        workers, wall = min(new[0].device.workers, len(new)), wall_seconds(known, new, sweeps)
        lines.append(
            f"time: about {duration(wall)} ({duration(sum(known))} of training, {workers} at a time), from {len(past)} runs here"
        )
    like = [sweep for sweep in sweeps if sweep.peak_memory_mb]
    if like:
        lines.append(
            f"memory: about {max(sweep.peak_memory_mb for sweep in like) / 1000:.1f} GB, as the largest sweep here"
        )
    else:
        data = new[0].arrays
        needed = 900 + 2 * sum(array.nbytes for array in (data.train_images, data.test_images)) / 2**20
        lines.append(f"memory: about {needed / 1000:.1f} GB (no sweep here yet: libraries, and the data twice)")
    sizes = [one.size for one in past if one.job.dataset.name == new[0].job.dataset.name]
    each = statistics.median(sizes) if sizes else 20_000 + len(new[0].arrays.test_labels)
    lines.append(f"disk: about {len(new) * each / 1e6:.1f} MB in runs/")
    return lines


def check_room(new: Sequence[Planned], places: Mapping[str, Path]) -> None:
    """Raises UserError, a line for each place, where what `new` runs leave behind cannot be written to `places`.

    `places` are folders by the key that names them; what lies on one file system is added up.
    """
    if not new:
        return
    problems, wanted = [], dict[int, int]()
    existing = {
        key: next(path for path in (folder, *folder.parents) if path.exists()) for key, folder in places.items()
    }
    for key, here in existing.items():
        if not here.is_dir() or not os.access(here, os.W_OK):
            why = "may not be written to by this user" if here.is_dir() else "is not a folder"
            problems.append(f"{key}={places[key]}: {here} {why}; make it so, or name another place")
        else:
            device = here.stat().st_dev
            wanted[device] = wanted.get(device, 0) + (mlflow_bytes(new) if key == "tracking" else disk_bytes(new))
    for key, here in existing.items():
        need, free = wanted.pop(here.stat().st_dev, 0), shutil.disk_usage(here).free
        if free < need:
            problems.append(
                f"{key}={places[key]}: {free / 1e6:.1f} MB are free there, and {len(new)} runs leave about"
                f" {need / 1e6:.1f} MB; make room, or name another place"
            )
    if problems:
        raise ConfigurationError(problems)


def mlflow_bytes(new: Sequence[Planned]) -> int:
    """Of an SQLite file with `new` in it, and the winner's model: 15 MB for 245 runs, 1 MB for none."""
    return 1_000_000 + 64_000 * len(new) + _weights_bytes(new)


def disk_bytes(new: Sequence[Planned]) -> int:
    """Of the run folders of `new`: records, predictions, uncommitted patches; and of one, the winner, its weights."""
    samples, classes = len(new[0].arrays.test_labels), new[0].arrays.classes
    patch = len(identity.uncommitted())
    records = sum(20_000 + 1_000 * one.job.training.epochs + samples + patch for one in new)
    return records + _weights_bytes(new) + samples * classes * 4


def _weights_bytes(new: Sequence[Planned]) -> int:
    """Of the largest network."""
    pixels, classes = int(new[0].arrays.train_images.shape[1]), new[0].arrays.classes
    return 4 * max(dense.parameters(one.job.model, pixels, classes) for one in new)


def wall_seconds(seconds: Sequence[float], new: Sequence[Planned], sweeps: Sequence[Sweep]) -> float:
    """By the wall clock, of trainings that take `seconds` each by themselves."""
    factor, start = _overhead(sweeps)
    return start + factor * sum(seconds) / min(new[0].device.workers, len(new))


def expected_seconds(new: Sequence[Planned], past: Sequence[Earlier]) -> list[float | None]:
    """Seconds of training of each: the median of the same configuration on this machine, or of the likest one, by its work.

    Looked for once for all seeds of a configuration.
    """
    known: dict[tuple[str, Device], float | None] = {}
    here: dict[Device, list[Earlier]] = {}
    seconds = []
    for one in new:
        like = (one.job.configuration, one.device)
        if one.device not in here:
            numerics = one.device.numerics()
            here[one.device] = [run for run in past if run.here and run.numerics == numerics]
        if like not in known:
            known[like] = _expected(one, here[one.device])
        seconds.append(known[like])
    return seconds


def _expected(one: Planned, here: Sequence[Earlier]) -> float | None:
    same = [run.seconds for run in here if run.job.configuration == one.job.configuration]
    if same:
        return statistics.median(same)
    data = [run for run in here if run.job.dataset.name == one.job.dataset.name]
    if not data:
        return None
    samples, pixels = map(int, one.arrays.train_images.shape)
    optimizer = [run for run in data if run.job.optimizer.name == one.job.optimizer.name] or data
    wanted = work(one.job, samples, pixels)
    away = [abs(work(run.job, samples, pixels) - wanted) for run in optimizer]
    likest = min(away)
    return statistics.median(
        run.seconds * wanted / work(run.job, samples, pixels)
        for run, distance in zip(optimizer, away, strict=True)
        if distance == likest
    )


def work(job: Job, samples: int, pixels: int) -> float:
    """Multiplications of a training of a data set with so many training samples, and what else takes as long as so many.

    A sample is gathered and evaluated too; a step of the optimizer reads and writes every weight, which a batch of one
    sample has to itself.
    """
    used = job.dataset.train_size or samples - job.dataset.validation_size
    sizes = [pixels, *job.model.hidden, 10]
    products = sum(a * b for a, b in pairwise(sizes))
    steps = math.ceil(used / job.training.batch_size)
    return float(job.training.epochs * (used * (products + 20_000) + steps * (8 * products + 150_000)))


def _overhead(sweeps: Sequence[Sweep]) -> tuple[float, float]:
    """By how much a sweep takes longer than its trainings on all workers, as a factor; and its start in seconds."""
    factors = [
        (sweep.seconds - START_SECONDS) / (sweep.train_seconds / sweep.workers)
        for sweep in sweeps
        if sweep.train_seconds > 10 * sweep.workers and sweep.seconds > START_SECONDS
    ]
    return (max(1.0, statistics.median(factors)) if factors else 1.2), START_SECONDS
