"""Trains one share of a sweep with the engine: what a pool starts, on this machine or on another one.

python -m pipeline.sweep.worker FILE

FILE is written by the command that divides the sweep (`pipeline.sweep.shares`). Every result goes to the run folders of the sweep;
beside FILE grows a journal, a line for each run that ended, from which that command learns what is there. A worker
that is told to end (SIGTERM, Ctrl-C, the signal before a time limit) ends at the next epoch and keeps what is finished; one
that is started again on the same FILE, as Slurm does with a job that it requeues, goes on from there.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pipeline.cli import console
from pipeline.cli.console import Stopped
from pipeline.cli.errors import UserError, shown_line
from pipeline.config.job import Job
from pipeline.data.arrays import load
from pipeline.data.files import whole
from pipeline.models import devices
from pipeline.models.devices import Device
from pipeline.storage import identity
from pipeline.storage.record import UnreadableRun
from pipeline.storage.store import RunStore
from pipeline.sweep.planned import Planned, score, train
from pipeline.training.result import FINISHED, Result

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
"""What tells a worker to end: Slurm's or a person's SIGTERM, Ctrl-C, and what submitit has Slurm send before a time limit."""

LIMIT = {signal.SIGUSR1, signal.SIGUSR2}


@dataclass(frozen=True)
class Task:
    """One run of a share."""

    job: Job
    key: str
    again: bool
    """Whether it is trained though the store has a result of it: it failed, or `force=true`."""
    overrides: list[str]


@dataclass(frozen=True)
class ShareFile:
    """All that a worker needs to know; paths are absolute."""

    data: str
    runs: str
    device: Device
    command: list[str]
    """The words of the command that asked for the sweep, for the runs' records."""
    tasks: list[Task]

    def write(self, path: Path) -> None:
        plain = {**vars(self), "device": asdict(self.device)}
        plain["tasks"] = [{**vars(task), "job": task.job.to_dict()} for task in self.tasks]
        with whole(path) as temporary:
            temporary.write_text(json.dumps(plain) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> ShareFile:
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
            tasks = [Task(**{**task, "job": Job.from_dict(task["job"])}) for task in plain["tasks"]]
            return cls(**{**plain, "device": Device(**plain["device"]), "tasks": tasks})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not a share of a sweep ({error}); the command of the sweep writes it") from error


class Journal:
    """What a worker says of its share, a line of JSON at a time; read while it is written."""

    def __init__(self, share: Path) -> None:
        self.path = share.with_suffix(".journal")
        self._read = 0

    def add(self, **words: str) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(words | {"at": f"{time.time():.3f}"}) + "\n")

    def news(self) -> Iterator[dict[str, str]]:
        """Whole lines that were added since the last time."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self._read)
                added = file.read()
        except OSError:
            return
        added = added[: added.rfind(b"\n") + 1]
        self._read += len(added)
        for line in added.splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue


class Keeper:
    """Puts results on disk; keeps the weights of the best run of each configuration, one of which the sweep will want."""

    def __init__(self, store: RunStore) -> None:
        self.store = store
        self._best: dict[str, tuple[tuple[float, int], str]] = {}

    def keep(self, position: int, result: Result) -> None:
        rank, configuration = (score(result), -position), result.job.configuration
        before = self._best.get(configuration)
        best = result.finished and (before is None or rank > before[0])
        self.store.write(result if best else replace(result, weights=None, probabilities=None))
        if best:
            self._best[configuration] = rank, result.key
            if before is not None:
                self.store.drop_weights(before[1])


def work(file: str) -> str:
    """Train the share that `file` describes; returns how that ended, in words, as its journal says too."""
    path = Path(file)
    journal = Journal(path)
    ended = "all of it is trained"
    journal.add(started=f"{os.uname().nodename} {os.getpid()}")
    with console.stopping(*STOPS):
        try:
            share = ShareFile.read(path)
            # What a run's record says of the command is what a person typed.
            with console.arguments(share.command):
                _train(share, journal)
        except Stopped as stopped:
            limit = stopped.exit_status - 128 in LIMIT
            ended = "its time limit was near" if limit else f"it was told to end ({stopped})"
        except Exception as error:
            ended = "; ".join(console.complaint(error))
    journal.add(ended=shown_line(ended))
    return ended


def _train(share: ShareFile, journal: Journal) -> None:
    identity.environment()  # Kept from here on: somebody may commit or edit while runs train.
    store = RunStore(share.runs)
    there = {line["asked"] for line in journal.news() if "asked" in line}
    tasks = [task for task in share.tasks if task.key not in there and (task.again or not _finished(store, task.key))]
    planned = list(_planned(share, tasks))
    keeper = Keeper(store)
    for position, result in train(planned, range(len(planned))):
        keeper.keep(position, result)
        journal.add(asked=tasks[position].key, key=result.key)


def _finished(store: RunStore, key: str) -> bool:
    try:
        return store.read(key).status == FINISHED
    except (KeyError, UnreadableRun):
        return False


def _planned(share: ShareFile, tasks: Sequence[Task]) -> Iterator[Planned]:
    """Raises UserError where a run would be another one here: other data, code or libraries, or no GPU."""
    if not tasks:
        return
    device = devices.choose(**asdict(share.device))
    arrays = {name: load(Path(share.data) / name) for name in {task.job.dataset.name for task in tasks}}
    made = {name: identity.identity(data.digest, device.numerics()) for name, data in arrays.items()}
    for task in tasks:
        name = task.job.dataset.name
        key = identity.key_of(task.job, made[name])
        if key != task.key:
            raise UserError(
                f"{task.job.name}: its key is {key[:12]} on {os.uname().nodename} ({device}, data {made[name]['data'][:12]}, "
                f"source {made[name]['source'][:12]}) and {task.key[:12]} where the sweep was started; expected the same "
                "data, code and libraries on both"
            )
        yield Planned(task.job, device, arrays[name], key, made[name], task.overrides)


def main(argv: Sequence[str]) -> int:
    if {"-h", "--help"} & set(argv):
        print((__doc__ or "").strip())
        return 0
    if len(argv) != 1:
        raise UserError(f"{' '.join(argv) or 'no word'}: expected one FILE, a share of a sweep")
    if not Path(argv[0]).is_file():
        raise UserError(f"{argv[0]}: no such file; expected one FILE, a share of a sweep")
    work(argv[0])
    return 0


if __name__ == "__main__":
    console.run(main)
