"""Shards of a sweep: dividing runs, training in a worker, and waiting for jobs. test_slurm.py tests a real Slurm."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import hypothesis
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli import signals
from pipeline.cli.console import PROJECT
from pipeline.cli.errors import UserError
from pipeline.config.run_config import RunConfig
from pipeline.storage.store import RunStore
from pipeline.sweep.executors import shards, slurm, worker
from pipeline.sweep.executors.shards import divide
from pipeline.sweep.executors.worker import Journal, Shard
from pipeline.sweep.plan import PlannedRun, Planner
from pipeline.training.outcome import Epoch
from pipeline.training.shapes import cost
from tests.support.factory import make_job
from tests.support.factory import stored as result
from tests.unit.training.command import Place
from tests.unit.training.trainer import device

CPU = device(xla=False, workers=1)


def runs(*names: str, widths: Sequence[int] = (8,), seeds: int = 1) -> list[PlannedRun]:
    return [
        PlannedRun(make_job(name, width=width, seed=seed), CPU, None, "", {}, [])  # type: ignore[arg-type]
        for name in names
        for width in widths
        for seed in range(seeds)
    ]


# --- dividing


@hypothesis.settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 2000), min_size=1, max_size=60), st.integers(1, 70))
def test_every_run_is_in_one_shard_and_none_is_empty(widths: list[int], count: int) -> None:
    sweep = runs("sgd", widths=widths)
    divided = divide(sweep, count)
    assert sorted(map(id, itertools.chain(*divided))) == sorted(map(id, sweep))
    assert len(divided) == min(count, len(sweep))
    assert all(divided)
    assert all(shard == [run for run in sweep if any(run is own for own in shard)] for shard in divided)


def test_shards_have_equal_work_not_equal_numbers() -> None:
    sweep = runs("sgd", widths=(16, 512), seeds=30)
    divided = divide(sweep, 3)
    work = [sum(cost(run.job) for run in shard) for shard in divided]
    assert max(work) - min(work) <= 2 * max(cost(run.job) for run in sweep)
    assert len(divided[0]) < len(divided[-1])


# --- a worker


def jobs(processed: Path, *seeds: int, epochs: int = 1) -> dict[str, RunConfig]:
    planner = Planner(processed)
    return {planner.run(job, CPU).key: job for job in (make_job(seed=seed, epochs=epochs) for seed in seeds)}


def written(tmp_path: Path, processed: Path, jobs: dict[str, RunConfig]) -> Path:
    file = tmp_path / "shares" / "0.json"
    Shard(str(processed), str(tmp_path / "runs"), CPU, ["train.py", "-m"], jobs).write(file)
    return file


def test_a_worker_trains_its_shard_and_goes_on_where_it_was(tmp_path: Path, processed: Path) -> None:
    worker.identity.environment.cache_clear()
    asked = jobs(processed, 0, 1, 2)
    first = dict(list(asked.items())[:1])
    assert worker.work(str(written(tmp_path, processed, first))) == "all of it is trained"
    file = written(tmp_path, processed, asked)
    assert worker.work(str(file)) == "all of it is trained"
    lines = list(Journal(file).lines())
    assert [line["asked"] for line in lines if "asked" in line] == list(asked)
    assert lines[-1]["ended"] == "all of it is trained"
    assert next(line["epoch"] for line in lines if "training" in line) == 1
    assert {run.environment["command"] for run in RunStore(tmp_path / "runs")} == {"train.py -m"}


def test_a_worker_whose_runs_would_have_other_keys_trains_none(tmp_path: Path, processed: Path) -> None:
    ended = worker.work(str(written(tmp_path, processed, {"0" * 64: make_job()})))
    assert ended.startswith("sgd-w8-d1-s0: its key is ")
    assert "expected the same data, code and libraries on both" in ended
    assert RunStore(tmp_path / "runs").keys() == []


def test_a_file_that_is_no_shard_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "0.json").write_text("{}")
    assert "not a share of a sweep" in worker.work(str(tmp_path / "0.json"))


@pytest.mark.slow
def test_a_worker_ends_with_the_command_that_started_it(tmp_path: Path, processed: Path) -> None:
    file = written(tmp_path, processed, jobs(processed, 0, epochs=10_000))
    start = f"import subprocess, sys, time; print(subprocess.Popen({[sys.executable, '-m', worker.__name__, str(file)]}).pid, flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", f"{start}; time.sleep(600)"], stdout=subprocess.PIPE, cwd=PROJECT
    ) as command:
        assert command.stdout is not None
        process = psutil.Process(int(command.stdout.readline()))
        while not list(Journal(file).lines()):
            time.sleep(0.1)
        command.kill()
    process.wait(60)
    assert list(Journal(file).lines())[-1]["ended"] == "it was told to end (SIGTERM)"


# --- the launcher


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("hydra.launcher.runs_per_share=many", "runs_per_share"),
        ("hydra.launcher.partitoin=main", "partitoin"),
    ],
    ids=str,
)
def test_wrong_options_are_refused_in_one_line(tmp_path: Path, processed: Path, word: str, expected: str) -> None:
    place = Place(tmp_path, processed)
    done = place.train("-m", "seed=0,1", "hydra/launcher=batched_slurm", word)
    [line] = done.err.splitlines()
    assert (done.status, place.store.keys()) == (2, [])
    assert expected in line


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install fake Slurm commands; sbatch ends before it prints the job ids."""
    folder = tmp_path / "bin"
    folder.mkdir()
    lines = {"sbatch": f'grep -- --job-name "$1" > {tmp_path}/named', "scancel": f'echo "$@" > {tmp_path}/cancelled'}
    for command in slurm.COMMANDS:
        (folder / command).write_text(f"#!/bin/sh\n{lines.get(command, '')}\n")
        (folder / command).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.usefixtures("commands")
def test_a_plan_says_how_it_would_be_divided(tmp_path: Path, processed: Path) -> None:
    words = ["hydra/launcher=batched_slurm", "hydra.launcher.runs_per_share=4", "plan=true"]
    done = Place(tmp_path, processed).train("-m", "seed=range(10)", *words)
    assert done.status == 0, done.err
    assert done.out.splitlines()[-1] == "shares: 3 of 3 to 4 runs, by slurm"


@pytest.mark.usefixtures("commands")
def test_jobs_whose_ids_sbatch_did_not_print_are_cancelled_by_name(tmp_path: Path) -> None:
    unset = dict.fromkeys(("partition", "account", "qos", "constraint", "setup", "mem_gb", "shares"))
    options = dict.fromkeys(("cpus_per_share", "runs_per_share", "poll_seconds", "timeout_min", "signal_seconds"), 1)
    more = {"gpus_per_share": 0, "at_once": 0, "additional_parameters": {}}
    with pytest.raises(UserError, match="sbatch refused the shares"):
        slurm.Slurm(unset | options | more).start("gap-sweep", [tmp_path / "sweep" / "0.json"])
    assert (tmp_path / "named").read_text().strip().rpartition("=")[2] == "gap-sweep"
    assert (tmp_path / "cancelled").read_text() == "--name=gap-sweep\n"


# --- waiting for jobs


class Pool:
    """A pool that divides a sweep into at most two shards; its jobs are alive while they are in `living`."""

    kind = "test"
    cpus, gpus, workers, poll_seconds = 1, 0, None, 0.0

    def __init__(self, *answers: set[str] | None) -> None:
        """`answers` are what the first calls of `alive` return; later calls return `living`."""
        self.answers = list(answers)
        self.living: set[str] = set()
        self.cancelled = False

    def shards(self, runs: int) -> int:
        return min(2, runs)

    def start(self, sweep: str, files: Sequence[Path]) -> list[str]:
        return [file.stem for file in files]

    def alive(self, sweep: str) -> set[str] | None:
        return self.answers.pop(0) if self.answers else self.living

    def end_of(self, job: str) -> str:
        return "no one knows"

    def log(self, job: str) -> str:
        return ""

    def cancel(self, sweep: str) -> None:
        self.cancelled = True


TWO = [replace(run, key=f"{place:064}") for place, run in enumerate(runs("sgd", seeds=2))]


def shards_of(tmp_path: Path, pool: Pool) -> shards.Shards:
    return shards.Shards(pool, RunStore(tmp_path), tmp_path, "e" * 64)


def test_a_queue_that_does_not_answer_loses_no_shard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SETTLE_SECONDS", 0.0)
    ended = list(shards_of(tmp_path, Pool(set(), None, None)).execute(TWO))
    assert [outcome.run for outcome in ended] == TWO
    assert capsys.readouterr().out.count("the queue does not answer: waiting") == 1
    assert ended[1].reason == "its share ended before it (no one knows)"


def test_what_shares_of_a_killed_command_have_trained_is_waited_for_and_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SETTLE_SECONDS", 0.0)
    pool, done = Pool({"12"}, {"12"}), result()
    divided = shards_of(tmp_path, pool)
    divided.store.write(done)
    ended = list(divided.execute([replace(TWO[0], key=done.key), TWO[1]]))
    assert [outcome.finished for outcome in ended] == [True, False]
    said = capsys.readouterr().out
    assert "waiting for 1 share of an earlier command" in said
    assert "in 1 share of 1 run, by test" in said


@pytest.mark.parametrize("answers", [[None, {"12"}, set()], [None, set()]], ids=["they still run", "they have ended"])
def test_shares_of_a_killed_command_are_waited_for_if_the_queue_is_silent_at_first(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    answers: list[set[str] | None],
) -> None:
    monkeypatch.setattr(shards, "SETTLE_SECONDS", 0.0)
    done = result()
    divided = shards_of(tmp_path, Pool(*answers))
    divided.store.write(done)
    ended = list(divided.execute([replace(TWO[0], key=done.key), TWO[1]]))
    assert [outcome.finished for outcome in ended] == [True, False]
    assert ("waiting for 1 share of an earlier command" in capsys.readouterr().out) == ({"12"} in answers)


def test_a_result_that_a_shared_drive_shows_late_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, late = Pool(), result()
    divided = shards_of(tmp_path, pool)
    divided._start(TWO)
    pool.living = {"0", "1"}
    [key] = divided.shards[0].open
    Journal(divided.shards[0].file).add(asked=key, key=key)
    assert list(divided._news()) == []
    monkeypatch.setattr(divided.store, "read", lambda asked: late)
    assert [outcome.result for outcome in divided._news()] == [late]


def test_the_folder_stays_until_the_queue_says_that_no_worker_writes_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    divided, there = shards_of(tmp_path, Pool(None, {"0"})), []
    divided._start(TWO)
    monkeypatch.setattr(shards.time, "sleep", lambda _: there.append(divided.folder.exists()))
    divided._tidy_up()
    assert there == [True, True]
    assert not divided.folder.exists()


def test_an_epoch_that_a_worker_notes_is_shown_once(tmp_path: Path) -> None:
    seen: list[tuple[PlannedRun, Epoch]] = []
    divided = shards_of(tmp_path, Pool({"0", "1"}, {"0", "1"}))
    divided.on_epoch = lambda run, point: seen.append((run, point))
    divided._start(TWO)
    [run], point = divided.shards[0].open.values(), Epoch(0, 3, {"val/accuracy": 0.5})
    Journal(divided.shards[0].file).show(run, point)
    assert [*divided._news(), *divided._news()] == []
    assert seen == [(run, point)]


def test_a_signal_cancels_what_was_started(tmp_path: Path) -> None:
    class Signalled(Pool):
        def start(self, sweep: str, files: Sequence[Path]) -> list[str]:
            signal.raise_signal(signal.SIGTERM)
            return []

    pool = Signalled()
    with signals.stopping(signal.SIGTERM), pytest.raises(signals.Stopped):
        list(shards_of(tmp_path, pool).execute(TWO))
    assert pool.cancelled
