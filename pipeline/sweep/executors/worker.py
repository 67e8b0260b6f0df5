"""Trains one shard of a sweep: the program that a pool starts, on this machine or another.

python -m pipeline.sweep.executors.worker FILE

FILE is written by the command that divides the sweep (`pipeline.sweep.executors.shards`). Results go to the run folders of
the sweep; the journal beside FILE gets a line for each run that ended, from which that command learns what is there. A
worker that is told to end (SIGTERM, Ctrl-C, the signal before a time limit) ends at the next epoch and keeps what is
finished; started again on the same FILE, as Slurm does with a job that it requeues, it goes on from there.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from pipeline.cli import console, signals
from pipeline.cli.errors import UserError, shown_line
from pipeline.cli.signals import Stopped
from pipeline.config.run_config import RunConfig
from pipeline.data.files import atomic_write
from pipeline.models import devices
from pipeline.models.devices import Device
from pipeline.storage import identity
from pipeline.storage.store import RunStore
from pipeline.sweep.executors.this_process import ThisProcess
from pipeline.sweep.plan import PlannedRun, Planner
from pipeline.training.outcome import Epoch

LIMIT = (signal.SIGUSR1, signal.SIGUSR2)
"""Signals that Slurm sends before a time limit, as submitit sets them."""

EPOCH_SECONDS = 2.0
"""Seconds between reported epochs, so that the journal of a long sweep stays small."""


@dataclass(frozen=True)
class Shard:
    """Everything that a worker needs; paths are absolute."""

    data: str
    runs: str
    device: Device
    command: list[str]
    """The command that requested the sweep, for the records of its runs."""
    jobs: dict[str, RunConfig]
    """Configurations by key."""

    def write(self, path: Path) -> None:
        plain = {**vars(self), "device": asdict(self.device)}
        plain["jobs"] = {key: job.to_dict() for key, job in self.jobs.items()}
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(plain) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Shard:
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
            jobs = {key: RunConfig.from_dict(job) for key, job in plain["jobs"].items()}
            return cls(**{**plain, "device": Device(**plain["device"]), "jobs": jobs})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not a share of a sweep ({error}); the command of the sweep writes it") from error


class Journal:
    """The reports of a worker, a line of JSON each; can be read while it is written."""

    def __init__(self, shard: Path) -> None:
        self.path = shard.with_suffix(".journal")
        self._read, self._shown = 0, -EPOCH_SECONDS

    def add(self, **fields: Any) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(fields) + "\n")

    def show(self, run: PlannedRun, point: Epoch) -> None:
        """Report an epoch of a run, unless one was reported just before."""
        if time.monotonic() - self._shown >= EPOCH_SECONDS:
            self._shown = time.monotonic()
            self.add(training=run.key, epoch=point.epoch, metrics=point.metrics)

    def lines(self) -> Iterator[dict[str, Any]]:
        """Return the complete lines that were not read yet."""
        if self.path.exists():
            with open(self.path, "rb") as file:
                file.seek(self._read)
                lines = file.read().splitlines(keepends=True)
            for line in lines:
                if line.endswith(b"\n"):
                    self._read += len(line)
                    yield json.loads(line)


def work(file: str) -> str:
    """Train the shard described by `file`. Return how it ended, as the journal does too."""
    journal = Journal(Path(file))
    ended = "all of it is trained"
    journal.add(started=f"{os.uname().nodename} {os.getpid()}")
    with signals.stopping(signal.SIGTERM, signal.SIGINT, *LIMIT):
        try:
            shard = Shard.read(Path(file))
            # The records of the runs name the command that a person typed.
            with console.replaced_argv(shard.command):
                _train(shard, journal)
        except Stopped as stopped:
            ended = "its time limit was near" if stopped.number in LIMIT else f"it was told to end ({stopped})"
        except Exception as error:
            ended = "; ".join(console.messages(error))
    journal.add(ended=shown_line(ended))
    return ended


def _train(shard: Shard, journal: Journal) -> None:
    identity.environment()  # Cached from here on: somebody may commit or edit while runs train.
    store = RunStore(shard.runs)
    done = {line.get("asked") for line in journal.lines()}
    runs = _runs(shard, {key: job for key, job in shard.jobs.items() if key not in done})
    for outcome in ThisProcess(store, on_epoch=journal.show).execute(runs):
        assert outcome.result is not None
        store.write(outcome.result)
        journal.add(asked=outcome.run.key, key=outcome.result.key)


def _runs(shard: Shard, jobs: Mapping[str, RunConfig]) -> list[PlannedRun]:
    """Raise UserError if a run would differ here: other data, code or libraries, or no GPU."""
    if not jobs:
        return []
    device, planner = devices.choose(**asdict(shard.device)), Planner(Path(shard.data), verified=True)
    runs = [planner.run(job, device) for job in jobs.values()]
    for asked, run in zip(jobs, runs, strict=True):
        if run.key != asked:
            data, source = run.identity["data"][:12], run.identity["source"][:12]
            raise UserError(
                f"{run.name}: its key is {run.key[:12]} on {os.uname().nodename} ({device}, data {data}, source {source})"
                f" and {asked[:12]} where the sweep was started; expected the same data, code and libraries on both"
            )
    return runs


def main(argv: Sequence[str]) -> int:
    if len(argv) != 1 or not Path(argv[0]).is_file():
        raise UserError(f"{' '.join(argv) or 'no word'}: expected one FILE, a share of a sweep")
    signals.end_with([psutil.Process(os.getppid())], "the command that started this process is gone, so it ends too")
    work(argv[0])
    return 0


if __name__ == "__main__":
    console.run(main)
