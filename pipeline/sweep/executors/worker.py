"""Trains one shard of a sweep: the program that a pool starts, on this machine or on another one.

python -m pipeline.sweep.executors.worker FILE

FILE is written by the command that divides the sweep (`pipeline.sweep.executors.shards`). Results go to the run folders of
the sweep; the journal beside FILE gets a line for each run that ended, from which that command learns what is there. A
worker that is told to end (SIGTERM, Ctrl-C, the signal before a time limit) ends at the next epoch and keeps what is
finished; started again on the same FILE, as Slurm does with a job that it requeues, it goes on from there.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from pipeline.cli import console, signals
from pipeline.cli.errors import UserError, shown_line
from pipeline.cli.signals import Stopped
from pipeline.data.arrays import load
from pipeline.models import devices
from pipeline.storage import identity
from pipeline.storage.record import UnreadableRun
from pipeline.storage.store import RunStore
from pipeline.sweep.executors.best_weights import BestWeights
from pipeline.sweep.executors.shard import Journal, ShardFile, Task
from pipeline.sweep.executors.this_process import ThisProcess
from pipeline.sweep.plan import PlannedRun
from pipeline.training.result import FINISHED

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that tell a worker to end: SIGTERM, Ctrl-C, and those that submitit has Slurm send before a time limit."""

LIMIT = {signal.SIGUSR1, signal.SIGUSR2}


def work(file: str) -> str:
    """Train the shard that `file` describes; returns how that ended, in words, as its journal says too."""
    path = Path(file)
    journal = Journal(path)
    ended = "all of it is trained"
    journal.add(started=f"{os.uname().nodename} {os.getpid()}")
    with signals.stopping(*STOPS):
        try:
            shard = ShardFile.read(path)
            # The records of the runs name the command that a person typed.
            with console.arguments(shard.command):
                _train(shard, journal)
        except Stopped as stopped:
            limit = stopped.exit_status - 128 in LIMIT
            ended = "its time limit was near" if limit else f"it was told to end ({stopped})"
        except Exception as error:
            ended = "; ".join(console.complaint(error))
    journal.add(ended=shown_line(ended))
    return ended


def _train(shard: ShardFile, journal: Journal) -> None:
    identity.environment()  # Cached from here on: somebody may commit or edit while runs train.
    store = RunStore(shard.runs)
    done = {line["asked"] for line in journal.news() if "asked" in line}
    tasks = [task for task in shard.tasks if task.key not in done and (task.again or not _finished(store, task.key))]
    position = {task.key: place for place, task in enumerate(tasks)}
    best = BestWeights(store)
    for outcome in ThisProcess().execute(list(_runs(shard, tasks))):
        assert outcome.result is not None
        best.write(position[outcome.run.key], outcome.result)
        journal.add(asked=outcome.run.key, key=outcome.result.key)


def _finished(store: RunStore, key: str) -> bool:
    try:
        return store.read(key).status == FINISHED
    except (KeyError, UnreadableRun):
        return False


def _runs(shard: ShardFile, tasks: Sequence[Task]) -> Iterator[PlannedRun]:
    """Raises UserError if a run would be another one here: other data, code or libraries, or no GPU."""
    if not tasks:
        return
    device = devices.choose(**asdict(shard.device))
    arrays = {name: load(Path(shard.data) / name, verified=True) for name in {task.job.dataset.name for task in tasks}}
    identities = {name: identity.identity(data.digest, device.numerics()) for name, data in arrays.items()}
    for task in tasks:
        name = task.job.dataset.name
        made_of = identities[name]
        key = identity.key_of(task.job, made_of)
        if key != task.key:
            raise UserError(
                f"{task.job.name}: its key is {key[:12]} on {os.uname().nodename} ({device}, data {made_of['data'][:12]}, "
                f"source {made_of['source'][:12]}) and {task.key[:12]} where the sweep was started; expected the same "
                "data, code and libraries on both"
            )
        yield PlannedRun(task.job, device, arrays[name], key, made_of, task.overrides)


def main(argv: Sequence[str]) -> int:
    if len(argv) != 1 or not Path(argv[0]).is_file():
        raise UserError(f"{' '.join(argv) or 'no word'}: expected one FILE, a share of a sweep")
    work(argv[0])
    return 0


if __name__ == "__main__":
    console.run(main)
