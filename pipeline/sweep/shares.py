"""A sweep in shares: divided among processes on this machine or on others, each of which trains its share with the engine.

The command that divides a sweep trains nothing itself. It writes a file for each share, has a pool start them, takes results
out of the run folders as the shares' journals name them, and is the only one that publishes: MLflow has one writer,
however many train. A share that ends early loses the runs that it had not trained; the others go on. Shares outlive a
command that is killed: the next one waits for what still runs instead of starting it again.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.cli.formatting import duration
from pipeline.config.job import Job
from pipeline.data.files import whole
from pipeline.models import devices
from pipeline.models.devices import Device
from pipeline.storage.record import UnreadableRun
from pipeline.storage.store import RECORD, RunStore
from pipeline.sweep import forecast, worker
from pipeline.sweep.planned import Planned
from pipeline.sweep.worker import Journal, ShareFile, Task
from pipeline.training.result import Result
from pipeline.training.shapes import cost, shape_of

FOLDER = "shares"
"""The folder within a store of runs that holds shares: their files, journals and logs."""

JOBS = "jobs.json"
"""Which job of the pool trains which share."""

SETTLE_SECONDS = 3.0
"""After the end of a job, before what it has not left is given up: a shared drive may show files late."""

KEPT_SECONDS = 86_400.0
"""How long the folder of an earlier command stays of which no job is left."""

TICK_SECONDS = 0.3


class Pool(Protocol):
    """Where shares are trained. What `hydra/launcher=batched_slurm` hands over is one, and so is `pipeline.sweep.cards`."""

    kind: str
    """`slurm`, `submitit_local`, `cards`: a command takes over earlier jobs of its own kind only."""
    scope: str
    """Where `alive` knows the jobs of other commands: this machine, or this user's part of a queue."""
    cpus: int
    """Of each share."""
    gpus: int
    shares: int | None
    """How many there are to be; None for as many as `runs_per_share` makes."""
    runs_per_share: int
    at_once: int | None
    """How many may be started; None where the pool has a queue of its own."""
    poll_seconds: float
    """Between two looks at `alive`."""

    def start(self, work: Callable[[str], str], files: Sequence[Path]) -> list[str]:
        """Have `work(file)` called for each, in processes of their own; the ids of these jobs. UserError where refused.

        Whatever ends it early, none of them is left running.
        """

    def alive(self, jobs: Collection[str]) -> set[str] | None:
        """Which of these wait or run, of an earlier command too; None where that cannot be known at present."""

    def fate(self, job: str) -> str:
        """What became of a job that is not alive, in words; empty where nothing is known."""

    def log(self, job: str) -> str:
        """The file with what the job wrote; empty where there is none."""

    def cancel(self, jobs: Collection[str]) -> None:
        """Tell these to end; what they have finished stays."""


def device(settings: dict[str, Any], pool: Pool | None) -> Device:
    """What computes, in the pool or on this machine. A pool on other machines has a GPU if each of its shares asks for one."""
    settings = {name: value for name, value in settings.items() if name != "gpus"}
    if pool is None:
        return devices.choose(**settings)
    if not pool.gpus:
        if settings["kind"] == "gpu":
            raise UserError("device=gpu: a share has none; hydra.launcher.gpus_per_share=1 asks for one")
        return devices.choose(**settings | {"kind": "cpu", "workers": settings["workers"] or pool.cpus})
    if settings["kind"] == "cpu":
        raise UserError(
            f"hydra.launcher.gpus_per_share={pool.gpus}: device=cpu uses none; device=auto or gpus_per_share=0"
        )
    # Chosen as for a CPU, where none of it can be refused, since the GPU is on another machine than this one.
    chosen = devices.choose(**settings | {"kind": "cpu", "precision": "float32", "workers": 1})
    stacked = chosen.backend == "jax" and chosen.trainer == "engine"
    stack = (settings["stack"] or devices.STACKS["gpu"]) if stacked else 1
    return replace(chosen, kind="gpu", precision=settings["precision"], stack=stack)


def at_hand(chosen: Device) -> bool:
    """Whether this machine can compute on what the runs were trained on."""
    return chosen.kind != "gpu" or devices.gpu_at_hand(chosen.backend)


def divide(runs: Sequence[Planned], seconds: Sequence[float | None], shares: int) -> list[list[int]]:
    """Positions in `runs`, divided into `shares` of equal work.

    Runs that can share a compiled program stand side by side, dearest first, and this row is cut: all shares together
    compile at most as many programs more than there are as there are cuts. Work is the predicted seconds where all are
    known, else what the order of jobs goes by. Within a share the order of the sweep is kept.
    """
    known = [value for value in seconds if value is not None]
    work = known if len(known) == len(runs) else [cost(one.job) for one in runs]
    groups: dict[tuple[Any, ...], list[int]] = {}
    shapes: dict[str, Job] = {}
    for position, one in enumerate(runs):
        if one.job.configuration not in shapes:
            shapes[one.job.configuration] = shape_of(one.job)
        groups.setdefault((one.device, one.job.dataset, shapes[one.job.configuration]), []).append(position)
    row = [position for group in sorted(groups.values(), key=lambda g: -work[g[0]]) for position in group]
    shares = min(shares, len(row))
    total, done = sum(work), 0.0
    divided: list[list[int]] = [[] for _ in range(shares)]
    number = 0
    for place, position in enumerate(row):
        # Where the middle of this run lies in the whole; but no share is left out, and none stays empty at the end.
        middle = int(shares * (done + work[position] / 2) / total) if total else 0
        number = max(number, shares - (len(row) - place), min(middle, number + bool(divided[number]), shares - 1))
        divided[number].append(position)
        done += work[position]
    return [sorted(share) for share in divided]


def count(pool: Pool, runs: int) -> int:
    return min(runs, pool.shares or math.ceil(runs / pool.runs_per_share))


def described(pool: Pool, runs: Sequence[Planned], store: RunStore) -> list[str]:
    """What `plan=true` says of the shares."""
    if not runs:
        return []
    seconds = forecast.expected_seconds(runs, list(forecast.earlier(store)))
    divided = divide(runs, seconds, count(pool, len(runs)))
    sizes = sorted({len(share) for share in divided})
    many = f"{sizes[0]} to {sizes[-1]} runs" if len(sizes) > 1 else f"{sizes[0]} run{'s' if sizes[0] > 1 else ''}"
    line = f"shares: {len(divided)} of {many}, by {pool.kind}"
    if all(value is not None for value in seconds):
        most = max(sum(seconds[position] or 0.0 for position in share) for share in divided)
        line += f"; the longest has {duration(most)} of training, as predicted for this machine"
    return [line]


@dataclass
class Share:
    """One that was started, or is about to be."""

    file: Path
    open: dict[str, list[int]]
    """Positions of the runs that nothing is heard of yet, by the key that was asked for."""
    job: str = ""
    ended: str = ""
    """How its worker said that it ended."""
    gone_since: float = 0.0
    journal: Journal = field(init=False)

    def __post_init__(self) -> None:
        self.journal = Journal(self.file)

    @property
    def name(self) -> str:
        return self.file.stem


class Shares:
    """The shares of one command. As a context: whatever ends it, no job is left that it waits for."""

    def __init__(self, pool: Pool, planned: Sequence[Planned], store: RunStore, data: Path, sweep_id: str) -> None:
        self.pool, self.planned, self.store, self.data = pool, planned, store, data
        started = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        self.folder = (store.root / FOLDER / f"{started}-{sweep_id[:12]}-{os.getpid()}").absolute()
        self.waiting: list[Share] = []
        self.running: list[Share] = []
        self._looked = 0.0
        self._before: dict[str, int] = {}
        self._silent = False
        self._jobs: dict[str, str] = {}
        self._busy: set[str] = set()
        """Jobs that were started or taken over, and were alive when it was last asked."""

    def __enter__(self) -> Shares:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if left := [share.job for share in self.running]:
            print(f"cancelling {len(left)} share{'s' if len(left) > 1 else ''} ({', '.join(left[:5])})", flush=True)
            self.pool.cancel(left)
        elif kind is None and self.folder.is_dir():
            # The jobs themselves may still be writing their last words: the next command removes it.
            self._note(over=not any(one.why_lost for one in self.planned))

    def train(self, positions: Sequence[int]) -> Iterator[int]:
        """Positions as their runs end; those that were lost have no result, but the reason in `why_lost`."""
        self._before = {
            key: stamp for position in positions if (stamp := self._stamp(key := self.planned[position].key))
        }
        positions = self._take_over(positions)
        if positions:
            self._write(positions)
        while self.waiting or self.running:
            self._start()
            before = time.monotonic()
            for share in self.running:
                yield from self._news(share)
            if time.monotonic() - self._looked >= self.pool.poll_seconds:
                yield from self._look()
            self.running = [share for share in self.running if share.open]
            if self.waiting or self.running:
                time.sleep(max(TICK_SECONDS, 10 * (time.monotonic() - before) if len(self.running) > 100 else 0))

    def _stamp(self, key: str) -> int:
        """When the record of the run was written, 0 where there is none: what is newer was trained by a share."""
        try:
            return (self.store.folder(key) / RECORD).stat().st_mtime_ns
        except OSError:
            return 0

    def _write(self, positions: Sequence[int]) -> None:
        runs = [self.planned[position] for position in positions]
        seconds = forecast.expected_seconds(runs, list(forecast.earlier(self.store)))
        divided = divide(runs, seconds, count(self.pool, len(runs)))
        for number, share in enumerate(divided):
            mine = [runs[place] for place in share]
            tasks = [Task(one.job, one.key, one.key in self._before, one.overrides) for one in mine]
            # All of a share stand in one file; of devices there is one, since a process runs one backend.
            if len({one.device for one in mine}) > 1:
                raise UserError("device: one backend and precision per share; sweep them in separate commands")
            file = self.folder / f"{number}.json"
            root = str(self.store.root.absolute())
            ShareFile(str(self.data.absolute()), root, mine[0].device, sys.argv, tasks).write(file)
            asked: dict[str, list[int]] = {}
            for place in share:
                asked.setdefault(runs[place].key, []).append(positions[place])
            self.waiting.append(Share(file, asked))
        sizes = sorted(map(len, divided))
        many = f"{sizes[0]} to {sizes[-1]} runs" if sizes[0] < sizes[-1] else f"{sizes[0]}"
        print(f"in {len(divided)} share{'s' if len(divided) > 1 else ''} of {many}, by {self.pool.kind}", flush=True)

    def _start(self) -> None:
        """As many of the waiting shares as the pool takes: all in one call where it has a queue, which takes arrays, else one
        by one, so that each is known before the next."""
        if not self.waiting:
            return
        room = several = len(self.waiting)
        if self.pool.at_once is not None:
            # Asked of the pool: a worker of which every run is here may still be ending, and have its card until then.
            alive = self.pool.alive(self._busy)
            if alive is None:
                return
            self._busy = alive
            room, several = min(room, self.pool.at_once - len(alive)), 1
        for _ in range(0, room, several):
            taken, self.waiting = self.waiting[:several], self.waiting[several:]
            # A signal after a process has begun and before it is known would leave it to nobody.
            with console.undisturbed():
                for share, job in zip(taken, self.pool.start(worker.work, [one.file for one in taken]), strict=True):
                    share.job = self._jobs[share.name] = job
                    self._busy.add(job)
                    self.running.append(share)
                self._note()

    def _note(self, over: bool = False) -> None:
        """Which job trains which share, for a command after this one; `over`: none has anything left to tell."""
        noted = {"kind": self.pool.kind, "scope": self.pool.scope, "over": over, "jobs": self._jobs}
        with whole(self.folder / JOBS) as temporary:
            temporary.write_text(json.dumps(noted) + "\n", encoding="utf-8")

    def _take_over(self, positions: Sequence[int]) -> list[int]:
        """Wait for what an earlier command has started and what still runs; the positions that are in no such share."""
        wanted: dict[str, int] = {self.planned[position].key: position for position in positions}
        for folder in sorted((self.store.root / FOLDER).glob("*")):
            try:
                noted = json.loads((folder / JOBS).read_text(encoding="utf-8"))
                jobs = {str(name): str(job) for name, job in noted["jobs"].items()}
                kind, over = noted["kind"], bool(noted.get("over"))
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue
            # Files from before there were scopes are taken for one's own.
            if kind != self.pool.kind or noted.get("scope", self.pool.scope) != self.pool.scope:
                # Nobody here knows whether its jobs live; but these have told all that they had to.
                if over and _idle(folder) > KEPT_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            alive = self.pool.alive(list(jobs.values())) if jobs else set()
            if alive is None:
                raise UserError(f"{folder}: whether its jobs still run cannot be known now (the queue does not answer)")
            if not alive and (over or _idle(folder) > KEPT_SECONDS):
                shutil.rmtree(folder, ignore_errors=True)
            for name, job in jobs.items():
                if job not in alive:
                    continue
                with suppress(UserError):
                    file = folder / f"{name}.json"
                    keys = [task.key for task in ShareFile.read(file).tasks]
                    if mine := {key: [wanted.pop(key)] for key in keys if key in wanted}:
                        self.running.append(Share(file, mine, job))
                        self._busy.add(job)
        if taken := sum(len(share.open) for share in self.running):
            print(f"{taken} runs are in shares of an earlier command that still run: waiting for them", flush=True)
        return sorted(wanted.values())

    def _news(self, share: Share) -> Iterator[int]:
        for line in share.journal.news():
            if "started" in line:
                share.ended = ""
            elif "ended" in line:
                share.ended = line["ended"]
            elif (asked := line.get("asked", "")) in share.open:
                yield from self._taken(share, asked, line.get("key", asked))

    def _taken(self, share: Share, asked: str, key: str) -> Iterator[int]:
        """What the store has of a run by now."""
        try:
            result: Result = self.store.read(key)
        except KeyError:
            return  # not seen on this machine yet
        except UnreadableRun as error:
            for position in share.open.pop(asked):
                self.planned[position].why_lost = str(error)
                yield position
            return
        for position in share.open.pop(asked):
            one = self.planned[position]
            one.result, one.trained = result, True
            one.key, one.identity = result.key, result.identity
            yield position

    def _look(self) -> Iterator[int]:
        """Which jobs are gone, and what they have not left."""
        self._looked = time.monotonic()
        alive = self.pool.alive([share.job for share in self.running])
        if alive is None:
            if not self._silent:
                print("the queue does not answer: waiting; shares that run go on", flush=True)
            self._silent = True
            return
        self._silent = False
        now = time.monotonic()
        for share in self.running:
            if share.job in alive:
                share.gone_since = 0.0
                continue
            if not share.gone_since:
                share.gone_since, self._looked = now, now + SETTLE_SECONDS - self.pool.poll_seconds
            yield from self._news(share)
            for key in [key for key in share.open if self._stamp(key) != self._before.get(key, 0)]:
                yield from self._taken(share, key, key)
            if share.open and now - share.gone_since >= SETTLE_SECONDS:
                yield from self._lost(share)

    def _lost(self, share: Share) -> Iterator[int]:
        told = [share.ended, fate] if (fate := self.pool.fate(share.job)) else [share.ended]
        why = "; ".join(word for word in told if word) or "its process was killed"
        log = self.pool.log(share.job)
        print(
            f"share {share.name} (job {share.job}) ended early: {why}; {len(share.open)} of its runs are missing"
            f"{f'; its log is {log}' if log else ''}",
            flush=True,
        )
        for key in list(share.open):
            for position in share.open.pop(key):
                self.planned[position].why_lost = f"its share ended before it ({why})"
                yield position


def _idle(folder: Path) -> float:
    """Seconds since anything in it was written: a journal grows with every run."""
    try:
        return time.time() - max(entry.stat().st_mtime for entry in folder.iterdir())
    except (OSError, ValueError):
        return 0.0
