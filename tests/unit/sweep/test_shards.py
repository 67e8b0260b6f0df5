"""Shards of a sweep: what a worker makes of its shard, and how the command waits; on Slurm in tests/system/test_slurm.py."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import signals
from pipeline.cli.errors import UserError
from pipeline.storage.store import WEIGHTS, RunStore
from pipeline.sweep.executors import jobs, shards, slurm, worker
from pipeline.sweep.executors.best_weights import BestWeights
from pipeline.sweep.executors.shard import Journal, ShardFile, Task
from tests.support.factory import make_job
from tests.support.factory import stored as result
from tests.support.slurm import Cluster, numbers
from tests.unit.sweep.test_divide import CPU, runs
from tests.unit.training.command import Place

# --- a worker


def task(processed: Path, seed: int, **changes: Any) -> Task:
    job = make_job(seed=seed, epochs=1, **changes)
    made = worker.identity.identity(worker.load(processed / "digits").digest, CPU.numerics())
    return Task(job, worker.identity.key_of(job, made), False, ["optimizer=sgd", f"seed={seed}"])


def written(tmp_path: Path, processed: Path, tasks: list[Task]) -> Path:
    file = tmp_path / "shares" / "0.json"
    ShardFile(str(processed), str(tmp_path / "runs"), CPU, ["train.py", "-m"], tasks).write(file)
    return file


def test_a_worker_trains_its_shard_and_goes_on_where_it_was(tmp_path: Path, processed: Path) -> None:
    tasks = [task(processed, seed) for seed in range(3)]
    assert worker.work(str(written(tmp_path, processed, tasks[:1]))) == "all of it is trained"
    file = written(tmp_path, processed, tasks)
    assert worker.work(str(file)) == "all of it is trained"
    lines = list(Journal(file).news())
    assert [line["asked"] for line in lines if "asked" in line] == [one.key for one in tasks]
    assert lines[-1]["ended"] == "all of it is trained"


def test_a_worker_notes_commit_and_command_before_it_trains(
    tmp_path: Path, processed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: list[str] = []

    def train(*_: Any) -> Iterator[Any]:
        monkeypatch.setattr(sys, "argv", ["later"])
        known.append(worker.identity.environment()["command"])
        yield from ()

    monkeypatch.setattr(worker.ThisProcess, "execute", train)
    worker.identity.environment.cache_clear()
    try:
        worker.work(str(written(tmp_path, processed, [task(processed, 0)])))
    finally:
        worker.identity.environment.cache_clear()
    assert known == ["train.py -m"]


def test_a_worker_whose_runs_would_have_other_keys_trains_none(tmp_path: Path, processed: Path) -> None:
    strange = replace(task(processed, 0), key="0" * 64)
    ended = worker.work(str(written(tmp_path, processed, [strange])))
    assert ended.startswith("sgd-w8-d1-s0: its key is ")
    assert "expected the same data, code and libraries on both" in ended
    assert RunStore(tmp_path / "runs").keys() == []


def test_a_file_that_is_no_shard_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "0.json").write_text("{}")
    assert "not a share of a sweep" in worker.work(str(tmp_path / "0.json"))
    for words in ([], [str(tmp_path / "there.json")]):
        with pytest.raises(UserError, match="expected one FILE, a share of a sweep"):
            worker.main(words)


def test_half_a_line_of_a_journal_is_read_when_it_is_whole(tmp_path: Path) -> None:
    journal, file = Journal(tmp_path / "0.json"), tmp_path / "0.journal"
    assert list(journal.news()) == []
    file.write_text('{"asked": "a"}\n{"as')
    assert list(journal.news()) == [{"asked": "a"}]
    assert list(journal.news()) == []
    file.write_text('{"asked": "a"}\n{"asked": "b"}\n')
    assert list(journal.news()) == [{"asked": "b"}]


def test_a_worker_keeps_the_weights_of_the_best_of_each_configuration(tmp_path: Path) -> None:
    best = BestWeights(RunStore(tmp_path))
    accuracies = [0.5, 0.7, 0.6, 0.7]
    made = [
        result(job=make_job(seed=seed, epochs=2), figures={"val/accuracy": accuracy})
        for seed, accuracy in enumerate(accuracies)
    ]
    for position, one in enumerate(made):
        best.write(position, one)
    assert [(tmp_path / one.key / WEIGHTS).is_file() for one in made] == [False, True, False, False]


# --- the launchers


@pytest.mark.slow
def test_shares_on_this_machine_have_the_same_bits(tmp_path: Path, processed: Path) -> None:
    grid = ["optimizer=sgd", "model.width=4", "seed=0,1,2", "training.epochs=1"]
    alone, divided = Place(tmp_path / "one", processed), Place(tmp_path / "two", processed)
    divided.root.mkdir()
    assert alone.train("-m", *grid).status == 0
    command = Cluster({}).start(divided, *grid, "hydra.launcher.shares=2", launcher="submitit_local")
    assert command.ends() == 0, command.out
    assert "in 2 shares of 1 to 2 runs, by submitit_local" in command.out
    assert [numbers(run) for run in divided.runs] == [numbers(run) for run in alone.runs]
    assert divided.record.winner == alone.record.winner


@pytest.mark.parametrize(
    ("launcher", "word", "expected"),
    [
        ("slurm", "hydra.launcher.cpus_per_share=0", "hydra.launcher.cpus_per_share=0: expected at least 1"),
        ("submitit_local", "hydra.launcher.runs_per_share=many", "runs_per_share"),
        ("submitit_local", "hydra.launcher.gpus_per_share=9", "this machine shows"),
        ("slurm", "hydra.launcher.partitoin=main", "partitoin"),
    ],
    ids=str,
)
def test_wrong_options_are_refused_in_one_line(
    tmp_path: Path, processed: Path, launcher: str, word: str, expected: str
) -> None:
    place = Place(tmp_path, processed)
    done = place.train("-m", "seed=0,1", f"hydra/launcher=batched_{launcher}", word)
    [line] = done.err.splitlines()
    assert (done.status, place.store.keys()) == (2, [])
    assert expected in line


def test_a_plan_says_how_it_would_be_divided(tmp_path: Path, processed: Path) -> None:
    words = ["hydra/launcher=batched_submitit_local", "hydra.launcher.runs_per_share=4", "plan=true"]
    done = Place(tmp_path, processed).train("-m", "seed=range(10)", *words)
    assert done.status == 0, done.err
    assert done.out.splitlines()[-1] == "shares: 3 of 3 to 4 runs, by submitit_local"


# --- waiting for jobs


class Pool:
    """Two shards of one run each; a job lives until a test ends it."""

    kind, scope = "test", "here"
    cpus, gpus, runs_per_share, poll_seconds = 1, 0, 64, 0.0
    shares: int | None = 2
    at_once: int | None = None

    def __init__(self) -> None:
        self.living: set[str] = set()
        self.cancelled: list[str] = []

    def start(self, work: Any, files: Sequence[Path]) -> list[str]:
        started = [file.stem for file in files]
        self.living |= {*started}
        return started

    def alive(self, jobs: Collection[str]) -> set[str] | None:
        return self.living & {*jobs}

    def fate(self, job: str) -> str:
        return "no one knows"

    def log(self, job: str) -> str:
        return ""

    def cancel(self, jobs: Collection[str]) -> None:
        self.cancelled += jobs
        self.living -= {*jobs}


TWO = [replace(run, key=f"{place:064}") for place, run in enumerate(runs("sgd", seeds=2))]


def shards_of(tmp_path: Path, pool: Pool) -> shards.Shards:
    return shards.Shards(pool, RunStore(tmp_path), tmp_path, "e" * 64)


def test_a_queue_that_does_not_answer_loses_no_shard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unanswering(Pool):
        asked = 0

        def alive(self, jobs: Collection[str]) -> set[str] | None:
            """Answers at the second time; the jobs are dead by then."""
            self.asked += 1
            return None if self.asked == 1 else set()

    monkeypatch.setattr(shards, "SETTLE_SECONDS", 0.0)
    ended = list(shards_of(tmp_path, Unanswering()).execute(TWO))
    assert [outcome.run for outcome in ended] == TWO
    assert "the queue does not answer: waiting" in capsys.readouterr().out
    assert ended[1].reason == "its share ended before it (no one knows)"


def test_a_shard_begins_when_the_last_worker_is_gone_not_when_its_runs_are_here(tmp_path: Path) -> None:
    pool = Pool()
    pool.at_once = 1
    divided = shards_of(tmp_path, pool)
    divided.waiting = divided._write(TWO)
    divided._start()
    divided.running = []  # every run of it is here
    divided._start()
    assert pool.living == {"0"}
    pool.living.clear()
    divided._start()
    assert pool.living == {"1"}


def test_a_result_that_a_shared_drive_shows_late_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    divided = shards_of(tmp_path, Pool())
    [shard, _] = divided._write(TWO)
    [key] = shard.open
    shard.journal.add(asked=key, key=key)
    assert list(divided._outcomes(shard)) == []
    late = result()
    monkeypatch.setattr(divided.store, "read", lambda asked: late)
    assert [outcome.result for outcome in divided._outcomes(shard)] == [late]
    assert shard.open == {}


class Full(Pool):
    at_once = 2

    def start(self, work: Any, files: Sequence[Path]) -> list[str]:
        if self.living:
            raise OSError(24, "Too many open files")
        return super().start(work, files)


class Signalled(Pool):
    at_once = 2

    def start(self, work: Any, files: Sequence[Path]) -> list[str]:
        started = super().start(work, files)
        signal.raise_signal(signal.SIGTERM)
        return started


@pytest.mark.parametrize(("pool", "error"), [(Full(), OSError), (Signalled(), signals.Stopped)], ids=["full", "signal"])
def test_a_shard_that_cannot_be_started_leaves_no_other_running(
    tmp_path: Path, pool: Pool, error: type[BaseException]
) -> None:
    divided = shards_of(tmp_path, pool)
    with signals.stopping(signal.SIGTERM), pytest.raises(error):
        list(divided.execute(TWO))
    assert (pool.cancelled, pool.living) == (["0"], set())
    assert json.loads((divided.folder / jobs.JOBS).read_text())["jobs"] == {"0": "0"}


DAY, NOW = 86_500, 0


@pytest.mark.parametrize(
    ("noted", "idle", "stays"),
    [
        ({"scope": "here", "over": False}, DAY, False),
        ({"scope": "here", "over": False}, NOW, True),
        ({"scope": "here", "over": True}, NOW, True),
        ({"scope": "here", "over": True}, 100, False),
        ({"scope": "there", "over": True}, 100, False),
        ({"scope": "there", "over": False}, DAY, True),
    ],
    ids=["gone", "gone just now", "over just now", "over", "over elsewhere", "it may live elsewhere"],
)
def test_the_folder_of_an_earlier_command_goes_when_nobody_needs_it(
    tmp_path: Path, noted: dict[str, Any], idle: int, stays: bool
) -> None:
    folder = tmp_path / jobs.FOLDER / "earlier"
    folder.mkdir(parents=True)
    (folder / jobs.JOBS).write_text(json.dumps({"jobs": {"0": "12"}, "kind": "test"} | noted))
    then = jobs.time.time() - idle
    os.utime(folder / jobs.JOBS, (then, then))
    assert shards_of(tmp_path, Pool())._take_over(TWO) == TWO
    assert folder.exists() == stays


# --- Slurm, without Slurm


def test_jobs_whose_ids_sbatch_did_not_print_are_cancelled_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = tmp_path / "bin"
    commands.mkdir()
    lines = {"sbatch": f'grep -- --job-name "$1" > {tmp_path}/named', "scancel": f'echo "$@" > {tmp_path}/cancelled'}
    for command in slurm.COMMANDS:
        (commands / command).write_text(f"#!/bin/sh\n{lines.get(command, '')}\n")
        (commands / command).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    unset = dict.fromkeys(("partition", "account", "qos", "constraint", "setup", "mem_gb", "shares"))
    options = dict.fromkeys(("cpus_per_share", "runs_per_share", "poll_seconds", "timeout_min", "signal_seconds"), 1)
    more = {"gpus_per_share": 0, "at_once": 0, "additional_parameters": {}}
    with pytest.raises(UserError, match="sbatch refused the shares"):
        slurm.Slurm(unset | options | more).start(worker.work, [tmp_path / "sweep" / "0.json"])
    name = (tmp_path / "named").read_text().strip().rpartition("=")[2]
    assert name.startswith("gap-sweep-")
    assert (tmp_path / "cancelled").read_text() == f"--name={name}\n"
