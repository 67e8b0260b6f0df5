"""A sweep in shards, divided among workers on this machine or others, which a pool starts.

The command that divides a sweep trains nothing itself. It writes a file for each shard, has the pool start their workers,
and takes results out of the run folders as the journals name them. It alone publishes: MLflow has one writer, however many
train. A shard that ends early loses the runs that it had not trained; the others go on.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.cli.errors import UserError
from pipeline.cli.formatting import plural
from pipeline.config.run_config import digest
from pipeline.storage.record import UnreadableRun
from pipeline.storage.store import RunStore
from pipeline.sweep.executors.worker import Journal, Shard
from pipeline.sweep.outcome import Outcome
from pipeline.sweep.plan import NEW, PlannedRun
from pipeline.sweep.pool import Pool
from pipeline.training.outcome import Epoch
from pipeline.training.shapes import cost, shape_of

FOLDER = "shares"
"""Folder within a run store that has a folder per sweep with its shards' files, journals and logs."""

SETTLE_SECONDS = 3.0
"""Seconds from the end of a job until its missing runs are lost: a shared drive may show files late."""

ENDING_SECONDS = 30.0
"""Seconds that workers get to end after all of their runs have arrived."""


@dataclass
class Started:
    """A shard with a started worker."""

    file: Path
    open: dict[str, PlannedRun]
    """The runs without an outcome, by key."""
    journal: Journal
    stored: dict[str, str] = field(default_factory=dict)
    """The stored key of each requested key: they differ if a stack was halved to fit the memory."""
    end: str = ""
    """How its worker ended, from the journal."""
    job: str = ""
    gone_since: float = 0.0


class Shards:
    """An executor whose workers are started by a pool. Results are already on disk, with their weights."""

    def __init__(
        self,
        pool: Pool,
        store: RunStore,
        data: Path,
        sweep_id: str,
        on_epoch: Callable[[PlannedRun, Epoch], None] = lambda run, epoch: None,
    ) -> None:
        self.pool, self.store, self.data, self.on_epoch = pool, store, data, on_epoch
        # The same command finds the jobs of this sweep in the queue by its name.
        self.name = f"gap-{digest([sweep_id, str(store.root.absolute())])[:12]}"
        self.folder = (store.root / FOLDER / self.name).absolute()
        self.shards: list[Started] = []
        self._silent = False

    def execute(self, runs: Sequence[PlannedRun]) -> Generator[Outcome]:
        lost = False
        try:
            found = list(self._found_meanwhile(runs)) if self._waited() else []
            yield from found
            there = {outcome.run.key for outcome in found}
            self._start([run for run in runs if run.key not in there])
            while any(shard.open for shard in self.shards):
                for outcome in self._news():
                    lost = lost or outcome.result is None
                    yield outcome
                time.sleep(self.pool.poll_seconds)
        except BaseException:
            left = sum(bool(shard.open) for shard in self.shards)
            print(f"cancelling {plural(left, 'share')}", flush=True)
            self.pool.cancel(self.name)
            raise
        if not lost:
            self._tidy_up()

    def _waited(self) -> bool:
        """Wait for the jobs of an earlier command that was killed. Return whether there may have been any."""
        said = waited = False
        while (alive := self._alive()) or alive is None:
            if alive and not said:
                print(f"waiting for {plural(len(alive), 'share')} of an earlier command", flush=True)
            said, waited = said or bool(alive), True
            time.sleep(self.pool.poll_seconds)
        return waited

    def _alive(self) -> set[str] | None:
        alive = self.pool.alive(self.name)
        if alive is None and not self._silent:
            print("the queue does not answer: waiting; shares that run go on", flush=True)
        self._silent = alive is None
        return alive

    def _found_meanwhile(self, runs: Sequence[PlannedRun]) -> Iterator[Outcome]:
        for run in runs:
            if run.found == NEW and (outcome := self._outcome(run, run.key)) and outcome.finished:
                yield outcome

    def _outcome(self, run: PlannedRun, key: str) -> Outcome | None:
        """Return the stored result of a run under `key`; None if this machine does not see it yet."""
        try:
            return Outcome(run, self.store.read(key), on_disk=True)
        except KeyError:
            return None
        except UnreadableRun as error:
            return Outcome(run, reason=str(error))

    def _start(self, runs: Sequence[PlannedRun]) -> None:
        if not runs:
            return
        # A worker runs one backend, so its file names one device.
        if len({run.device for run in runs}) > 1:
            raise UserError("device: one backend and precision per share; sweep them in separate commands")
        device = replace(runs[0].device, workers=self.pool.workers or runs[0].device.workers)
        shutil.rmtree(self.folder, ignore_errors=True)
        divided = divide(runs, self.pool.shards(len(runs)))
        for number, own in enumerate(divided):
            file = self.folder / f"{number}.json"
            jobs = {run.key: run.job for run in own}
            Shard(str(self.data.absolute()), str(self.store.root.absolute()), device, sys.argv, jobs).write(file)
            self.shards.append(Started(file, {run.key: run for run in own}, Journal(file)))
        print(f"in {plural(len(divided), 'share')} of {sizes(divided)}, by {self.pool.kind}", flush=True)
        jobs_started = self.pool.start(self.name, [shard.file for shard in self.shards])
        for shard, job in zip(self.shards, jobs_started, strict=True):
            shard.job = job

    def _news(self) -> Iterator[Outcome]:
        """Return outcomes from the journals, and of runs whose job ended a while ago."""
        alive, now = self._alive(), time.monotonic()
        for shard in self.shards:
            if not shard.open:
                continue
            yield from self._named(shard)
            if alive is None or shard.job in alive:
                shard.gone_since = 0.0
            else:
                shard.gone_since = shard.gone_since or now
                if shard.open and now - shard.gone_since >= SETTLE_SECONDS:
                    yield from self._lost(shard)

    def _named(self, shard: Started) -> Iterator[Outcome]:
        for line in shard.journal.lines():
            if "asked" in line:
                shard.stored[line["asked"]] = line["key"]
            elif run := shard.open.get(line.get("training", "")):
                self.on_epoch(run, Epoch(0, line["epoch"], line["metrics"]))
            shard.end = line.get("ended", shard.end)
        for run in [shard.open[key] for key in shard.stored if key in shard.open]:
            if outcome := self._outcome(run, shard.stored[run.key]):
                del shard.open[run.key]
                yield outcome

    def _lost(self, shard: Started) -> Iterator[Outcome]:
        why = "; ".join(filter(None, (shard.end, self.pool.end_of(shard.job)))) or "its process was killed"
        print(
            f"share {shard.file.stem} (job {shard.job}) ended early: {why}; {len(shard.open)} of its runs are missing; "
            f"its log is {self.pool.log(shard.job)}",
            flush=True,
        )
        for key in list(shard.open):
            yield Outcome(shard.open.pop(key), reason=f"its share ended before it ({why})")

    def _tidy_up(self) -> None:
        """Remove the folder once no worker writes to it."""
        until = time.monotonic() + ENDING_SECONDS
        while self.pool.alive(self.name) != set() and time.monotonic() < until:  # None: the queue does not answer
            time.sleep(0.1)
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):
            self.folder.parent.rmdir()


def divide(runs: Sequence[PlannedRun], shards: int) -> list[list[PlannedRun]]:
    """Divide `runs` into `shards` of equal work.

    Runs that can share a compiled program stand side by side, the longest first, and this row is cut: so each cut costs
    at most one more compilation. Within a shard the order of the sweep is kept.
    """
    work = [cost(run.job) for run in runs]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for position, run in enumerate(runs):
        groups.setdefault((run.device, run.job.dataset, shape_of(run.job)), []).append(position)
    row = [position for group in sorted(groups.values(), key=lambda g: -work[g[0]]) for position in group]
    total, done, number = sum(work), 0.0, 0
    divided: list[list[int]] = [[] for _ in range(min(shards, len(row)))]
    for place, position in enumerate(row):
        # The shard in which the middle of this run lies; but no shard is skipped, and none stays empty at the end.
        middle = int(len(divided) * (done + work[position] / 2) / total)
        number = max(number, len(divided) - (len(row) - place), min(middle, number + bool(divided[number])))
        divided[number].append(position)
        done += work[position]
    return [[runs[position] for position in sorted(shard)] for shard in divided]


def sizes(shards: Sequence[Sequence[PlannedRun]]) -> str:
    """Return the sizes of shards, such as `3 to 4 runs`."""
    low, high = min(map(len, shards)), max(map(len, shards))
    return f"{low} to {high} runs" if low < high else plural(low, "run")
