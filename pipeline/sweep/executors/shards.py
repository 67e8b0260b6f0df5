"""A sweep in shards: divided among workers on this machine or on others, which a pool starts.

The command that divides a sweep trains nothing itself. It writes a file for each shard, has the pool start their workers,
and takes results out of the run folders as the journals name them. It alone publishes: MLflow has one writer, however many
train. A shard that ends early loses the runs that it had not trained; the others go on. Workers outlive a command that is
killed: the next command waits for those that still run instead of starting them again.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pipeline.cli import signals
from pipeline.cli.errors import UserError
from pipeline.data.files import whole
from pipeline.storage.record import UnreadableRun
from pipeline.storage.store import RECORD, RunStore
from pipeline.sweep.executors import worker
from pipeline.sweep.executors.divide import shards_for
from pipeline.sweep.executors.shard import Journal, ShardFile, Task
from pipeline.sweep.outcome import Outcome
from pipeline.sweep.plan import PlannedRun
from pipeline.sweep.pool import Pool

FOLDER = "shares"
"""The folder within a store of runs that holds shards: their files, journals and logs."""

JOBS = "jobs.json"
"""Which job of the pool trains which shard."""

SETTLE_SECONDS = 3.0
"""From the end of a job until its missing runs are given up: a shared drive may show files late."""

KEPT_SECONDS = 86_400.0
"""How long the folder of an earlier command stays that has no job left."""

TICK_SECONDS = 0.3


@dataclass
class Shard:
    """A shard whose worker is started, or is about to be."""

    file: Path
    open: dict[str, PlannedRun]
    """The runs that have no outcome yet, by key."""
    journal: Journal
    job: str = ""
    ended: str = ""
    """How its worker said that it ended."""
    gone_since: float = 0.0


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
        self._stored_at: dict[str, int] = {}
        """When the record of a run was written that was there before, by key."""
        self._looked = 0.0
        self._silent = False

    def execute(self, runs: Sequence[PlannedRun]) -> Generator[Outcome]:
        lost = False
        with self._cancelling():
            self._stored_at = {run.key: stamp for run in runs if (stamp := self._stamp(run.key))}
            if rest := self._take_over(runs):
                self.waiting += self._write(rest)
            while self.waiting or self.running:
                self._start()
                before = time.monotonic()
                for outcome in self._ended():
                    lost = lost or outcome.result is None
                    yield outcome
                self.running = [shard for shard in self.running if shard.open]
                if self.waiting or self.running:
                    busy = 10 * (time.monotonic() - before) if len(self.running) > 100 else 0
                    time.sleep(max(TICK_SECONDS, busy))
        if self.folder.is_dir():
            # Its jobs may still be writing their last words, so a later command removes the folder.
            self._note(over=not lost)

    @contextmanager
    def _cancelling(self) -> Iterator[None]:
        """Whatever ends the block, no job is left that it waits for."""
        try:
            yield
        finally:
            if left := [shard.job for shard in self.running]:
                print(f"cancelling {len(left)} share{'s' if len(left) > 1 else ''} ({', '.join(left[:5])})", flush=True)
                self.pool.cancel(left)

    def _stamp(self, key: str) -> int:
        """When the record of the run was written, 0 if there is none: a newer one is of a worker."""
        try:
            return (self.store.folder(key) / RECORD).stat().st_mtime_ns
        except OSError:
            return 0

    def _write(self, runs: Sequence[PlannedRun]) -> list[Shard]:
        """The shards of these runs, with their files."""
        divided, _ = shards_for(self.pool, runs, self.store)
        shards = []
        for number, positions in enumerate(divided):
            own = [runs[position] for position in positions]
            # A worker runs one backend, so its file names one device.
            if len({run.device for run in own}) > 1:
                raise UserError("device: one backend and precision per share; sweep them in separate commands")
            device = replace(own[0].device, workers=self.workers or own[0].device.workers)
            tasks = [Task(run.job, run.key, run.key in self._stored_at, run.overrides) for run in own]
            file = self.folder / f"{number}.json"
            root = str(self.store.root.absolute())
            ShardFile(str(self.data.absolute()), root, device, sys.argv, tasks).write(file)
            shards.append(Shard(file, {run.key: run for run in own}, Journal(file)))
        sizes = sorted(map(len, divided))
        runs_each = f"{sizes[0]} to {sizes[-1]} runs" if sizes[0] < sizes[-1] else f"{sizes[0]}"
        print(
            f"in {len(divided)} share{'s' if len(divided) > 1 else ''} of {runs_each}, by {self.pool.kind}", flush=True
        )
        return shards

    def _start(self) -> None:
        """Start as many of the waiting shards as the pool takes: all in one call if it has a queue, else one by one, so
        that each job is known before the next one starts."""
        if not self.waiting:
            return
        room = several = len(self.waiting)
        if self.pool.at_once is not None:
            # The pool is asked, since a worker whose runs are all here may still be ending, and have its GPU until then.
            alive = self.pool.alive(self._alive)
            if alive is None:
                return
            self._alive = alive
            room, several = min(room, self.pool.at_once - len(alive)), 1
        for _ in range(0, room, several):
            taken, self.waiting = self.waiting[:several], self.waiting[several:]
            # A signal after a process has begun and before its id is known would leave it running.
            with signals.delayed():
                jobs = self.pool.start(worker.work, [shard.file for shard in taken])
                for shard, job in zip(taken, jobs, strict=True):
                    shard.job = self._jobs[shard.file.stem] = job
                    self._alive.add(job)
                    self.running.append(shard)
                self._note()

    def _note(self, over: bool = False) -> None:
        """Write which job trains which shard, for a later command; `over`: nothing more is expected of any."""
        noted = {"kind": self.pool.kind, "scope": self.pool.scope, "over": over, "jobs": self._jobs}
        with whole(self.folder / JOBS) as temporary:
            temporary.write_text(json.dumps(noted) + "\n", encoding="utf-8")

    def _take_over(self, runs: Sequence[PlannedRun]) -> list[PlannedRun]:
        """Wait for the jobs of earlier commands that still run; returns the runs that are in none of them."""
        wanted = {run.key: run for run in runs}
        for file, job in self._earlier_jobs():
            with suppress(UserError):
                keys = [task.key for task in ShardFile.read(file).tasks]
                if own := {key: wanted.pop(key) for key in keys if key in wanted}:
                    self.running.append(Shard(file, own, Journal(file), job))
                    self._alive.add(job)
        if taken := sum(len(shard.open) for shard in self.running):
            print(f"{taken} runs are in shares of an earlier command that still run: waiting for them", flush=True)
        return list(wanted.values())

    def _earlier_jobs(self) -> Iterator[tuple[Path, str]]:
        """Shard files of earlier commands and their jobs, as far as these are alive. Folders that are done with are removed."""
        for folder in sorted((self.store.root / FOLDER).glob("*")):
            try:
                noted = json.loads((folder / JOBS).read_text(encoding="utf-8"))
                jobs = {str(name): str(job) for name, job in noted["jobs"].items()}
                kind, over, old = noted["kind"], bool(noted.get("over")), _idle(folder) > KEPT_SECONDS
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue
            # Files of releases without scopes are taken for this pool's own. Of others it is not known whether they live.
            own = kind == self.pool.kind and noted.get("scope", self.pool.scope) == self.pool.scope
            alive = self.pool.alive(list(jobs.values())) if own and jobs else set()
            if alive is None:
                raise UserError(f"{folder}: whether its jobs still run cannot be known now (the queue does not answer)")
            if not alive and ((over or old) if own else (over and old)):
                shutil.rmtree(folder, ignore_errors=True)
            yield from ((folder / f"{name}.json", job) for name, job in jobs.items() if job in alive)

    def _ended(self) -> Iterator[Outcome]:
        """What the journals say, and, every few seconds, what the ends of jobs mean."""
        for shard in self.running:
            yield from self._news(shard)
        if time.monotonic() - self._looked >= self.pool.poll_seconds:
            yield from self._look_at_jobs()

    def _news(self, shard: Shard) -> Iterator[Outcome]:
        for line in shard.journal.news():
            if "started" in line:
                shard.ended = ""
            elif "ended" in line:
                shard.ended = line["ended"]
            elif (asked := line.get("asked", "")) in shard.open:
                yield from self._stored(shard, asked, line.get("key", asked))

    def _stored(self, shard: Shard, asked: str, key: str) -> Iterator[Outcome]:
        """The outcome of the run `asked`, whose result is stored under `key`; nothing while this machine does not see it."""
        try:
            result = self.store.read(key)
        except KeyError:
            return
        except UnreadableRun as error:
            yield Outcome(shard.open.pop(asked), reason=str(error))
            return
        yield Outcome(shard.open.pop(asked), result, trained=True, on_disk=True)

    def _look_at_jobs(self) -> Iterator[Outcome]:
        """Ask the pool which jobs are gone; what they have not left is lost after a while."""
        self._looked = time.monotonic()
        alive = self.pool.alive([shard.job for shard in self.running])
        if alive is None:
            if not self._silent:
                print("the queue does not answer: waiting; shares that run go on", flush=True)
            self._silent = True
            return
        self._silent = False
        now = time.monotonic()
        for shard in self.running:
            if shard.job in alive:
                shard.gone_since = 0.0
                continue
            if not shard.gone_since:
                shard.gone_since, self._looked = now, now + SETTLE_SECONDS - self.pool.poll_seconds
            yield from self._news(shard)
            for key in [key for key in shard.open if self._stamp(key) != self._stored_at.get(key, 0)]:
                yield from self._stored(shard, key, key)
            if shard.open and now - shard.gone_since >= SETTLE_SECONDS:
                yield from self._lost(shard)

    def _lost(self, shard: Shard) -> Iterator[Outcome]:
        causes = (shard.ended, self.pool.fate(shard.job))
        why = "; ".join(cause for cause in causes if cause) or "its process was killed"
        log = self.pool.log(shard.job)
        print(
            f"share {shard.file.stem} (job {shard.job}) ended early: {why}; {len(shard.open)} of its runs are missing"
            f"{f'; its log is {log}' if log else ''}",
            flush=True,
        )
        for key in list(shard.open):
            yield Outcome(shard.open.pop(key), reason=f"its share ended before it ({why})")


def _idle(folder: Path) -> float:
    """Seconds since anything in it was written: a journal grows with every run."""
    try:
        return time.time() - max(entry.stat().st_mtime for entry in folder.iterdir())
    except (OSError, ValueError):
        return 0.0
