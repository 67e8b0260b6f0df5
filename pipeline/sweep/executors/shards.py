"""A sweep in shards: divided among workers on this machine or on others, which a pool starts.

The command that divides a sweep trains nothing itself. It writes a file for each shard, has the pool start their workers,
and takes results out of the run folders as the journals name them. It alone publishes: MLflow has one writer, however many
train. A shard that ends early loses the runs that it had not trained; the others go on. Workers outlive a command that is
killed: the next command waits for those that still run instead of starting them again.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from pipeline.cli import signals
from pipeline.cli.errors import UserError
from pipeline.cli.formatting import plural
from pipeline.storage.record import UnreadableRun
from pipeline.storage.store import RunStore
from pipeline.sweep.estimate import History
from pipeline.sweep.executors import worker
from pipeline.sweep.executors.divide import divide, shard_count, sizes
from pipeline.sweep.executors.jobs import FOLDER, earlier_jobs, write_jobs
from pipeline.sweep.executors.shard import Journal, ShardFile, Task
from pipeline.sweep.outcome import Outcome
from pipeline.sweep.plan import PlannedRun
from pipeline.sweep.pool import Pool

SETTLE_SECONDS = 3.0
"""From the end of a job until its missing runs are given up: a shared drive may show files late."""

TICK_SECONDS = 0.3


@dataclass
class Shard:
    """A shard whose worker is started, or is about to be."""

    file: Path
    open: dict[str, PlannedRun]
    """The runs that have no outcome yet, by key."""
    journal: Journal
    job: str = ""
    stored: dict[str, str] = field(default_factory=dict)
    """Of open runs that the worker has stored, the key of the result: another one than asked for if the stack was halved."""
    ended: str = ""
    """How its worker said that it ended."""
    gone_since: float = 0.0

    def read_journal(self) -> None:
        for line in self.journal.news():
            if "started" in line:
                self.ended = ""
            elif "ended" in line:
                self.ended = line["ended"]
            elif (asked := line.get("asked", "")) in self.open:
                self.stored[asked] = line.get("key", asked)


class Shards:
    """An executor of workers that a pool starts. It trains one plan. Each result is on disk, with its weights if it is
    the best of its configuration in its shard."""

    def __init__(self, pool: Pool, store: RunStore, data: Path, sweep_id: str, workers: int | None = None) -> None:
        """`workers`: how many runs each worker trains at a time; as many as the runs' device says, if None."""
        self.pool, self.store, self.data, self.workers = pool, store, data, workers
        started = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        self.folder = (store.root / FOLDER / f"{started}-{sweep_id[:12]}-{os.getpid()}").absolute()
        self.waiting: list[Shard] = []
        self.running: list[Shard] = []
        self._jobs: dict[str, str] = {}
        self._alive: set[str] = set()
        """Jobs that were started or taken over, and were alive when the pool was last asked."""
        self._looked = 0.0
        self._silent = False

    def execute(self, runs: Sequence[PlannedRun]) -> Generator[Outcome]:
        lost = False
        with self._cancelling():
            self.waiting = self._write(self._take_over(runs))
            while self.waiting or self.running:
                self._start()
                for outcome in self._ended():
                    lost = lost or outcome.result is None
                    yield outcome
                self.running = [shard for shard in self.running if shard.open]
                if self.waiting or self.running:
                    time.sleep(TICK_SECONDS)
        if self._jobs:
            write_jobs(self.folder, self.pool, self._jobs, over=not lost)

    @contextmanager
    def _cancelling(self) -> Iterator[None]:
        """Whatever ends the block, no job is left that it waits for."""
        try:
            yield
        finally:
            if left := [shard.job for shard in self.running]:
                print(f"cancelling {plural(len(left), 'share')} ({', '.join(left[:5])})", flush=True)
                self.pool.cancel(left)

    def _take_over(self, runs: Sequence[PlannedRun]) -> list[PlannedRun]:
        """Wait for the jobs of earlier commands that still run; returns the runs that are in none of them."""
        wanted = {run.key: run for run in runs}
        for file, job in earlier_jobs(self.store.root, self.pool):
            with suppress(UserError):
                keys = [task.key for task in ShardFile.read(file).tasks]
                if own := {key: wanted.pop(key) for key in keys if key in wanted}:
                    self.running.append(Shard(file, own, Journal(file), job))
                    self._alive.add(job)
        if taken := sum(len(shard.open) for shard in self.running):
            print(f"{taken} runs are in shares of an earlier command that still run: waiting for them", flush=True)
        return list(wanted.values())

    def _write(self, runs: Sequence[PlannedRun]) -> list[Shard]:
        """The shards of these runs, with their files."""
        if not runs:
            return []
        divided = divide(runs, History.of(self.store).run_seconds(runs), shard_count(self.pool, runs))
        shards = [
            self._write_shard(str(number), [runs[position] for position in positions])
            for number, positions in enumerate(divided)
        ]
        print(f"in {plural(len(shards), 'share')} of {sizes(divided)}, by {self.pool.kind}", flush=True)
        return shards

    def _write_shard(self, name: str, runs: Sequence[PlannedRun]) -> Shard:
        # A worker runs one backend, so its file names one device.
        if len({run.device for run in runs}) > 1:
            raise UserError("device: one backend and precision per share; sweep them in separate commands")
        device = replace(runs[0].device, workers=self.workers or runs[0].device.workers)
        tasks = [Task(run.job, run.key, run.key in self.store, run.overrides) for run in runs]
        file = self.folder / f"{name}.json"
        ShardFile(str(self.data.absolute()), str(self.store.root.absolute()), device, sys.argv, tasks).write(file)
        return Shard(file, {run.key: run for run in runs}, Journal(file))

    def _start(self) -> None:
        """Start as many of the waiting shards as the pool takes: all in one call if it has a queue, else one by one, so
        that each job is known before the next one starts."""
        if not self.waiting:
            return
        room = at_a_time = len(self.waiting)
        if self.pool.at_once is not None:
            # The pool is asked, since a worker whose runs are all here may still be ending, and have its GPU until then.
            alive = self.pool.alive(self._alive)
            if alive is None:
                return
            self._alive = alive
            room, at_a_time = min(room, self.pool.at_once - len(alive)), 1
        for _ in range(0, room, at_a_time):
            taken, self.waiting = self.waiting[:at_a_time], self.waiting[at_a_time:]
            # A signal after a process has begun and before its id is known would leave it running.
            with signals.delayed():
                jobs = self.pool.start(worker.work, [shard.file for shard in taken])
                for shard, job in zip(taken, jobs, strict=True):
                    shard.job = self._jobs[shard.file.stem] = job
                    self._alive.add(job)
                    self.running.append(shard)
                write_jobs(self.folder, self.pool, self._jobs)

    def _ended(self) -> Iterator[Outcome]:
        """Outcomes that the journals name, and, every few seconds, of runs whose job is gone."""
        for shard in self.running:
            yield from self._outcomes(shard)
        if time.monotonic() - self._looked >= self.pool.poll_seconds:
            yield from self._look_at_jobs()

    def _outcomes(self, shard: Shard) -> Iterator[Outcome]:
        """Of the runs that its journal names, as far as this machine sees their results already."""
        shard.read_journal()
        for asked, key in list(shard.stored.items()):
            run = shard.open[asked]
            try:
                outcome = Outcome(run, self.store.read(key), trained=True, on_disk=True)
            except KeyError:
                continue
            except UnreadableRun as error:
                outcome = Outcome(run, reason=str(error))
            del shard.stored[asked], shard.open[asked]
            yield outcome

    def _look_at_jobs(self) -> Iterator[Outcome]:
        """Ask the pool which jobs are gone; what they have not left is lost after a while."""
        self._looked = now = time.monotonic()
        alive = self.pool.alive([shard.job for shard in self.running])
        if alive is None:
            if not self._silent:
                print("the queue does not answer: waiting; shares that run go on", flush=True)
            self._silent = True
            return
        self._silent = False
        for shard in self.running:
            if shard.job in alive:
                shard.gone_since = 0.0
                continue
            shard.gone_since = shard.gone_since or now
            if now - shard.gone_since >= SETTLE_SECONDS:
                yield from self._outcomes(shard)
                yield from self._lost(shard)

    def _lost(self, shard: Shard) -> Iterator[Outcome]:
        if not shard.open:
            return
        why = "; ".join(filter(None, (shard.ended, self.pool.fate(shard.job)))) or "its process was killed"
        log = self.pool.log(shard.job)
        print(
            f"share {shard.file.stem} (job {shard.job}) ended early: {why}; {len(shard.open)} of its runs are missing"
            f"{f'; its log is {log}' if log else ''}",
            flush=True,
        )
        for key in list(shard.open):
            yield Outcome(shard.open.pop(key), reason=f"its share ended before it ({why})")
