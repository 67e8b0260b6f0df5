"""A sweep in shards: how it is divided, and what a worker makes of its shard; on Slurm in tests/system/test_slurm.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydra_plugins.cluster_launcher import _pools
from pipeline.cli import signals
from pipeline.cli.console import PROJECT
from pipeline.cli.errors import UserError
from pipeline.storage.store import WEIGHTS, RunStore
from pipeline.sweep.executors import shards, worker
from pipeline.sweep.executors.divide import divide
from pipeline.sweep.executors.shard import Journal, ShardFile, Task
from pipeline.sweep.executors.worker import BestWeights
from pipeline.sweep.plan import PlannedRun
from pipeline.training.shapes import shape_of
from tests.support.slurm import Cluster, numbers
from tests.unit.storage.test_store import result
from tests.unit.training.command import Place
from tests.unit.training.factory import make_job
from tests.unit.training.trainer import device

CPU = device(xla=False, workers=1)


def runs(*names: str, widths: Sequence[int] = (8,), seeds: int = 1) -> list[PlannedRun]:
    return [
        PlannedRun(make_job(name, width=width, seed=seed), CPU, None, "", {}, [])  # type: ignore[arg-type]
        for name in names
        for width in widths
        for seed in range(seeds)
    ]


@hypothesis.settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=60), st.integers(1, 70))
def test_every_run_is_in_one_shard_and_none_is_empty(seconds: list[float], count: int) -> None:
    sweep = [replace(run) for run in runs("sgd", "adam", "lion", seeds=20)][: len(seconds)]
    divided = divide(sweep, seconds, count)
    assert sorted(position for shard in divided for position in shard) == list(range(len(seconds)))
    assert len(divided) == min(count, len(seconds))
    assert all(divided)
    assert all(shard == sorted(shard) for shard in divided)


def test_shards_have_equal_work_not_equal_numbers() -> None:
    sweep = runs("sgd", widths=(16, 512), seeds=30)
    seconds = [0.1 if run.job.width == 16 else 2.9 for run in sweep]
    divided = divide(sweep, seconds, 3)
    assert [round(sum(seconds[place] for place in shard)) for shard in divided] == [29, 32, 29]
    assert [len(shard) for shard in divided] == [10, 11, 39]


def test_a_program_is_compiled_in_as_few_shards_as_can_be() -> None:
    sweep = runs("sgd", "adam", "lion", "rmsprop", widths=(8, 16), seeds=6)
    for count in (1, 2, 4, 8, 16):
        divided = divide(sweep, [None] * len(sweep), count)
        programs = sum(len({shape_of(sweep[place].job) for place in shard}) for shard in divided)
        assert programs <= 8 + count - 1


def test_what_is_not_known_of_one_run_is_not_guessed_for_the_others() -> None:
    sweep = runs("sgd", widths=(16, 512), seeds=4)
    by_cost = divide(sweep, [None] * 8, 2)
    assert divide(sweep, [1.0] * 7 + [None], 2) == by_cost != divide(sweep, [1.0] * 8, 2)


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
    assert [*lines[0]] == ["started", "at"]
    assert lines[-1]["ended"] == "all of it is trained"


def test_a_worker_notes_commit_and_command_before_it_trains(
    tmp_path: Path, processed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: list[str] = []

    def train(*_: Any) -> Iterator[Any]:
        monkeypatch.setattr(sys, "argv", ["later"])  # what is kept already does not see it
        known.append(worker.identity.environment()["command"])
        yield from ()

    monkeypatch.setattr(worker.ThisProcess, "execute", train)
    worker.identity.environment.cache_clear()
    try:
        worker.work(str(written(tmp_path, processed, [task(processed, 0)])))
    finally:
        worker.identity.environment.cache_clear()
    assert known == ["train.py -m"]


def test_a_worker_whose_runs_would_be_others_trains_none(tmp_path: Path, processed: Path) -> None:
    strange = replace(task(processed, 0), key="0" * 64)
    ended = worker.work(str(written(tmp_path, processed, [strange])))
    assert ended.startswith("sgd-w8-d1-s0: its key is ")
    assert "expected the same data, code and libraries on both" in ended
    assert RunStore(tmp_path / "runs").keys() == []


def test_a_word_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there\.json: expected one FILE, a share of a sweep"):
        worker.main([str(tmp_path / "there.json")])
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_shard_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "0.json").write_text("{}")
    assert "not a share of a sweep" in worker.work(str(tmp_path / "0.json"))
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.sweep.executors.worker"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (2, "error: no word: expected one FILE, a share of a sweep\n")


def test_half_a_line_of_a_journal_is_read_when_it_is_whole(tmp_path: Path) -> None:
    journal, file = Journal(tmp_path / "0.json"), tmp_path / "0.journal"
    assert list(journal.news()) == []
    file.write_text('{"asked": "a"}\n{"as')
    assert list(journal.news()) == [{"asked": "a"}]
    assert list(journal.news()) == []
    file.write_text('{"asked": "a"}\n{"asked": "b"}\n')
    assert list(journal.news()) == [{"asked": "b"}]


def test_weights_are_kept_of_the_best_of_each_configuration(tmp_path: Path) -> None:
    best = BestWeights(RunStore(tmp_path))
    accuracies = [0.5, 0.7, 0.6, 0.7]
    runs = [
        result(job=make_job(seed=seed, epochs=2), figures={"best/val_accuracy": accuracy})
        for seed, accuracy in enumerate(accuracies)
    ]
    for position, made in enumerate(runs):
        best.write(position, made)
    assert [(tmp_path / made.key / WEIGHTS).is_file() for made in runs] == [False, True, False, False]


# --- the pool of submitit's local executor


@pytest.mark.slow
def test_the_same_bits_by_submitit_on_this_machine(tmp_path: Path, processed: Path) -> None:
    grid = ["optimizer=sgd", "model.width=4", "seed=0,1,2", "training.epochs=1"]
    alone, divided = Place(tmp_path / "one", processed), Place(tmp_path / "two", processed)
    divided.root.mkdir()
    assert alone.train("-m", *grid).status == 0
    command = Cluster({}).start(divided, *grid, "hydra.launcher.runs_per_share=3", launcher="submitit_local")
    assert command.ends() == 0, command.out
    assert "in 1 share of 3, by submitit_local" in command.out
    assert [numbers(run) for run in divided.runs] == [numbers(run) for run in alone.runs]


@pytest.mark.parametrize(
    ("launcher", "word", "said"),
    [
        ("slurm", "hydra.launcher.cpus_per_share=0", "hydra.launcher.cpus_per_share=0: expected at least 1"),
        ("submitit_local", "hydra.launcher.runs_per_share=many", "runs_per_share"),
        ("submitit_local", "hydra.launcher.gpus_per_share=9", "this machine shows"),
        ("slurm", "hydra.launcher.partitoin=main", "partitoin"),
    ],
    ids=str,
)
def test_options_are_checked(tmp_path: Path, processed: Path, launcher: str, word: str, said: str) -> None:
    place = Place(tmp_path, processed)
    done = place.train("-m", "seed=0,1", f"hydra/launcher=batched_{launcher}", word)
    assert done.status == 2
    assert said in done.err
    assert len(done.err.splitlines()) == 1
    assert place.store.keys() == []


def test_a_plan_says_how_it_would_be_divided(tmp_path: Path, processed: Path) -> None:
    words = ["hydra/launcher=batched_submitit_local", "hydra.launcher.runs_per_share=4", "plan=true"]
    said = Place(tmp_path, processed).train("-m", "seed=range(10)", *words)
    assert said.status == 0, said.err
    assert said.out.splitlines()[-1] == "shares: 3 of 3 to 4 runs, by submitit_local"


class Deaf:
    """A pool whose queue answers at the second time only, and whose jobs are dead by then."""

    kind, scope = "deaf", "here"
    cpus, gpus, shares, runs_per_share, at_once, poll_seconds = 1, 0, 1, 64, None, 0.0

    def __init__(self) -> None:
        self.asked = 0

    def start(self, work: Any, files: Sequence[Path]) -> list[str]:
        return [file.stem for file in files]

    def alive(self, jobs: Collection[str]) -> set[str] | None:
        self.asked += 1
        return None if self.asked == 1 else set()

    def fate(self, job: str) -> str:
        return "no one knows"

    def log(self, job: str) -> str:
        return ""

    def cancel(self, jobs: Collection[str]) -> None:
        raise AssertionError("nothing is left to cancel")


def test_a_queue_that_does_not_answer_means_no_shard_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SETTLE_SECONDS", 0.0)
    sweep = [replace(run, key=f"{place:064}") for place, run in enumerate(runs("sgd", seeds=2))]
    ended = list(shards.Shards(Deaf(), RunStore(tmp_path), tmp_path, "e" * 64).execute(sweep))
    assert [outcome.run for outcome in ended] == sweep
    assert "the queue does not answer: waiting" in capsys.readouterr().out
    assert ended[1].reason == "its share ended before it (no one knows)"


class Few(Deaf):
    """Two shares, each of one run, on a machine with room for `at_once` of them; a job lives until a test ends it."""

    shares: int | None = 2

    def __init__(self, at_once: int) -> None:
        super().__init__()
        self.at_once = at_once  # type: ignore[assignment]
        self.living: set[str] = set()
        self.cancelled: list[str] = []

    def start(self, work: Any, files: Sequence[Path]) -> list[str]:
        started = [file.stem for file in files]
        self.living |= {*started}
        return started

    def alive(self, jobs: Collection[str]) -> set[str] | None:
        return self.living & {*jobs}

    def cancel(self, jobs: Collection[str]) -> None:
        self.cancelled += jobs
        self.living -= {*jobs}


TWO = [replace(run, key=f"{place:064}") for place, run in enumerate(runs("sgd", seeds=2))]


def shards_of(tmp_path: Path, pool: Deaf) -> shards.Shards:
    return shards.Shards(pool, RunStore(tmp_path), tmp_path, "e" * 64)


def test_a_shard_begins_when_the_last_worker_is_gone_not_when_its_runs_are_here(tmp_path: Path) -> None:
    pool = Few(at_once=1)
    divided = shards_of(tmp_path, pool)
    divided.waiting = divided._write(TWO)
    divided._start()
    divided.running = []  # every run of it is here
    divided._start()
    assert pool.living == {"0"}
    pool.living.clear()
    divided._start()
    assert pool.living == {"1"}


def test_a_shard_that_cannot_be_started_leaves_no_other_running(tmp_path: Path) -> None:
    class Full(Few):
        def start(self, work: Any, files: Sequence[Path]) -> list[str]:
            if self.living or len(files) > 1:
                raise OSError(24, "Too many open files")
            return super().start(work, files)

    pool = Full(at_once=2)
    divided = shards_of(tmp_path, pool)
    with pytest.raises(OSError, match="Too many"):
        list(divided.execute(TWO))
    assert (pool.cancelled, pool.living) == (["0"], set())
    assert json.loads((divided.folder / shards.JOBS).read_text())["jobs"] == {"0": "0"}


def test_a_signal_while_a_shard_is_started_leaves_none_running(tmp_path: Path) -> None:
    class Signalled(Few):
        def start(self, work: Any, files: Sequence[Path]) -> list[str]:
            started = super().start(work, files)
            signal.raise_signal(signal.SIGTERM)
            return started

    pool = Signalled(at_once=2)
    divided = shards_of(tmp_path, pool)
    with signals.stopping(signal.SIGTERM), pytest.raises(signals.Stopped):
        list(divided.execute(TWO))
    assert (pool.cancelled, pool.living) == (["0"], set())


@pytest.mark.parametrize(
    ("noted", "growing", "stays"),
    [
        ({"kind": "gpus", "scope": "here"}, False, True),
        ({"kind": "deaf", "scope": "there"}, False, True),
        ({"kind": "deaf", "scope": "there", "over": True}, False, False),
        ({"kind": "deaf", "scope": "here"}, False, False),
        ({"kind": "deaf", "scope": "here"}, True, True),
        ({"kind": "deaf"}, False, False),
        ({"kind": "deaf"}, True, True),
    ],
    ids=["another kind", "elsewhere", "over", "gone", "gone just now", "from before scopes", "growing"],
)
def test_a_sweep_that_may_live_elsewhere_keeps_its_folder(
    tmp_path: Path, noted: dict[str, Any], growing: bool, stays: bool
) -> None:
    """A day after it was started, by a command whose pool has none of its jobs."""
    folder = tmp_path / shards.FOLDER / "earlier"
    folder.mkdir(parents=True)
    (folder / shards.JOBS).write_text(json.dumps({"jobs": {"0": "12"}} | noted))
    os.utime(folder / shards.JOBS, (0, 0))
    (folder / "0.journal").touch()
    if not growing:
        os.utime(folder / "0.journal", (0, 0))
    assert shards_of(tmp_path, Few(at_once=1))._take_over(TWO) == TWO
    assert folder.exists() == stays


# --- what is started and comes to nothing

OPTIONS: dict[str, Any] = {
    **dict.fromkeys(("partition", "account", "qos", "constraint", "setup", "mem_gb", "shares")),
    **dict.fromkeys(("cpus_per_share", "runs_per_share", "poll_seconds", "timeout_min", "signal_seconds"), 1),
    **dict.fromkeys(("gpus_per_share", "at_once"), 0),
    "additional_parameters": {},
}


def test_jobs_whose_ids_sbatch_did_not_say_are_cancelled_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = tmp_path / "bin"
    commands.mkdir()
    lines = {"sbatch": f'grep -- --job-name "$1" > {tmp_path}/named', "scancel": f'echo "$@" > {tmp_path}/cancelled'}
    for command in ("sbatch", "srun", "squeue", "scancel"):
        (commands / command).write_text(f"#!/bin/sh\n{lines.get(command, '')}\n")
        (commands / command).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    with pytest.raises(_pools.HydraException, match="sbatch refused the shares"):
        _pools.Slurm(OPTIONS).start(worker.work, [tmp_path / "sweep" / "0.json"])
    name = (tmp_path / "named").read_text().strip().rpartition("=")[2]
    assert name.startswith("gap-sweep-")
    assert (tmp_path / "cancelled").read_text() == f"--name={name}\n"


def test_a_second_process_that_cannot_be_started_ends_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import submitit

    started: list[subprocess.Popen[bytes]] = []

    def submit(executor: Any, *_: Any) -> Any:
        if started:
            raise OSError(24, "Too many open files")
        started.append(subprocess.Popen(["sleep", "60"]))
        return submitit.LocalJob(executor.folder, str(started[0].pid), process=started[0])

    monkeypatch.setattr(submitit.LocalExecutor, "submit", submit)
    with pytest.raises(OSError, match="Too many"):
        _pools.Local(OPTIONS).start(worker.work, [tmp_path / "0.json", tmp_path / "1.json"])
    assert started[0].wait(20) == -signal.SIGTERM


def test_no_more_shards_run_than_there_are_gpus_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    assert _pools.Local(OPTIONS | {"gpus_per_share": 1, "at_once": 9}).at_once == 3
    assert _pools.Local(OPTIONS | {"gpus_per_share": 2}).at_once == 1


def test_looking_for_the_launchers_does_not_import_submitit() -> None:
    script = (
        "import sys, hydra_plugins.cluster_launcher;"
        "assert not {'submitit', 'numpy', 'pipeline', 'mlflow'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=PROJECT, env=os.environ, check=True, timeout=60)
