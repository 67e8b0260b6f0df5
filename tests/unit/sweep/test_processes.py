"""Pools of local worker processes, each with its own core or GPU. No machine with two GPUs was available, so the lists
of GPUs are made up and workers train on the CPU, whichever GPU they are given."""

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.cli.errors import UserError
from pipeline.data.arrays import Arrays
from pipeline.sweep.executors import processes
from pipeline.sweep.executors.processes import Processes
from pipeline.sweep.plan import PlannedRun
from pipeline.sweep.pool import choose_device
from tests.support.factory import make_job
from tests.unit.training.command import Place
from tests.unit.training.trainer import bits, device

HERE = device(workers=4)
ON_GPU = replace(device(xla=False, workers=1), kind="gpu")
GIB = 2**30
WIDE = [1024, 1024]


def runs(*hidden: list[int], on: Any = HERE, arrays: Any = None, epochs: int = 4000) -> list[PlannedRun]:
    jobs = [make_job(hidden=layers, seed=seed, epochs=epochs) for seed, layers in enumerate(hidden)]
    return [PlannedRun(job, on, arrays, f"{number:064}", {}, []) for number, job in enumerate(jobs)]


# --- a process for each core


@pytest.mark.parametrize(
    ("hidden", "changes", "waits"),
    [
        ([512, 512], {}, False),
        ([512, 513], {}, True),
        ([2048], {}, False),
        ([64, 1200, 1200, 64], {}, True),
        ([300, 400], {"precision": "float64"}, False),
        ([512, 300], {"precision": "float64"}, True),
        (WIDE, {"kind": "gpu"}, False),
        (WIDE, {"backend": "jax"}, False),
        (WIDE, {"trainer": "reference"}, False),
        (WIDE, {"xla": False}, False),
    ],
    ids=str,
)
def test_a_program_waits_for_others_if_xla_copies_over_a_mib_at_once(
    hidden: list[int], changes: dict[str, Any], waits: bool
) -> None:
    [run] = runs(hidden, on=replace(HERE, **changes))
    assert processes.waits_for_others(run) is waits


@pytest.mark.parametrize(
    ("count", "workers", "memory", "places"),
    [(9, 4, 1024, 4), (3, 4, 64, 3), (9, 4, 3, 2), (9, 4, 1, None), (9, 1, 64, None), (1, 4, 64, None)],
    ids=str,
)
def test_there_are_as_many_processes_as_trained_at_a_time_and_fit(
    digits: Arrays, count: int, workers: int, memory: int, places: int | None
) -> None:
    """`memory` is in GiB."""
    pool = processes.for_cores(runs(*[WIDE] * count, on=replace(HERE, workers=workers), arrays=digits), memory * GIB)
    assert (pool and pool.shards(count)) == places


def test_no_process_is_started_for_little_work_for_one_wide_run_or_for_two_devices(digits: Arrays) -> None:
    little = runs(WIDE, WIDE, arrays=digits, epochs=100)
    one_wide = runs(WIDE, [512], [512, 512], [64], arrays=digits)
    two_devices = [*runs(WIDE, WIDE, arrays=digits), *runs(WIDE, on=replace(HERE, precision="float64"), arrays=digits)]
    assert [processes.for_cores(sweep, 64 * GIB) for sweep in (little, one_wide, two_devices)] == [None, None, None]


# --- a process for each GPU


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that makes the driver list the given number of GPUs."""
    monkeypatch.delenv(processes.VISIBLE, raising=False)
    monkeypatch.setattr(processes, "DRIVER", tmp_path / "gpus")

    def knows(count: int) -> None:
        for number in range(count):
            (tmp_path / "gpus" / f"0000:0{number}:00.0").mkdir(parents=True)

    return knows


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, ["0", "1", "2"]),
        ("", []),
        ("1,2", ["1", "2"]),
        ("GPU-4c2f, GPU-77aa", ["GPU-4c2f", "GPU-77aa"]),
        ("0,-1,1", ["0"]),
        ("2,2", ["2"]),
    ],
    ids=str,
)
def test_gpus_are_those_that_cuda_would_see(
    driver: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, value: str | None, found: list[str]
) -> None:
    driver(3)
    if value is not None:
        monkeypatch.setenv(processes.VISIBLE, value)
    assert processes.visible_gpus() == found


@pytest.mark.parametrize(
    ("known", "most", "count", "places"),
    [
        (4, 0, 9, ["0", "1", "2", "3"]),
        (4, 2, 9, ["0", "1"]),
        (4, 0, 3, ["0", "1", "2"]),
        (4, 1, 9, None),
        (4, 0, 1, None),
        (1, 0, 9, None),
        (0, 0, 9, None),
    ],
    ids=str,
)
def test_a_sweep_is_divided_among_gpus(
    driver: Callable[[int], None], known: int, most: int, count: int, places: list[str] | None
) -> None:
    driver(known)
    pool = processes.for_gpus(runs(*[[8]] * count, on=ON_GPU), most)
    assert (pool and [each[processes.VISIBLE] for each in pool.environments]) == places
    assert processes.for_gpus(runs(*[[8]] * count), most) is None, "what trains on the CPU is not"


# --- processes


@pytest.fixture
def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the worker by a script that writes the GPU it sees to its file and then waits."""
    (tmp_path / "look.py").write_text(
        "import os, sys, time, pathlib\n"
        "pathlib.Path(sys.argv[1]).write_text(os.environ['CUDA_VISIBLE_DEVICES'])\n"
        "time.sleep(60)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(processes, "WORKER", "look")


@pytest.mark.usefixtures("look")
def test_each_worker_sees_one_gpu_and_no_other(tmp_path: Path) -> None:
    files = [tmp_path / "0.json", tmp_path / "1.json"]
    pool = Processes("gpus", [{processes.VISIBLE: "GPU-a"}, {processes.VISIBLE: "GPU-b"}], gpus=1)
    started = pool.start("sweep", files)
    assert pool.alive("sweep") == {*started}
    while not all(file.exists() and file.read_text() for file in files):
        assert pool.alive("sweep") == {*started}
        time.sleep(0.02)
    assert [file.read_text() for file in files] == ["GPU-a", "GPU-b"]
    pool.cancel("sweep")
    assert pool.alive("sweep") == set()
    assert [pool.end_of(job) for job in started] == ["killed by SIGTERM"] * 2


@pytest.mark.usefixtures("look")
def test_a_worker_that_cannot_be_started_leaves_no_other_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    popen, started = psutil.Popen, []

    def start(*words: Any, **options: Any) -> Any:
        if started:
            raise OSError(24, "Too many open files")
        started.append(popen(*words, **options))
        return started[0]

    monkeypatch.setattr(psutil, "Popen", start)
    with pytest.raises(OSError, match="Too many"):
        Processes("gpus", [{}, {}]).start("sweep", [tmp_path / "0.json", tmp_path / "1.json"])
    assert started[0].wait(20) == -signal.SIGTERM


@pytest.mark.slow
@pytest.mark.usefixtures("keras")
def test_a_process_for_each_core_gives_the_bits_of_one_process(
    tmp_path: Path, processed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = ["-m", "optimizer=sgd,adam", "model.width=6", "model.depth=2", "seed=0,1", "training.epochs=2"]
    alone, divided = Place(tmp_path / "one", processed), Place(tmp_path / "two", processed)
    assert alone.train(*grid, "device.workers=2").status == 0
    monkeypatch.setattr(processes, "waits_for_others", lambda run: True)
    monkeypatch.setattr(processes, "LEAST", 0)
    done = divided.train(*grid, "device.workers=2")
    assert done.status == 0, done.err
    assert "in 2 shares of 2 runs, by cores" in done.out
    assert "4 of 4 runs finished" in done.out
    assert [(run.key, bits(run)) for run in divided.runs] == [(run.key, bits(run)) for run in alone.runs]
    assert divided.record.winner == alone.record.winner
    assert not (divided.root / "runs" / "shares").exists()
    assert [path.parent.name for path in divided.store.root.glob("*/weights.npz")] == [divided.record.winner]


# --- the device of runs that a pool trains


def elsewhere(gpus: int) -> Processes:
    return Processes("test", [], gpus=gpus)


SETTINGS = {
    "kind": "auto",
    "backend": "tensorflow",
    "precision": "float32",
    "xla": True,
    "trainer": "engine",
    "workers": 0,
    "stack": 0,
    "gpus": 0,
}


def test_shards_with_a_gpu_have_the_keys_of_a_gpu_though_there_is_none_here() -> None:
    found = choose_device(SETTINGS | {"precision": "tensorfloat32"}, elsewhere(1))
    assert (found.kind, found.precision, found.workers, found.stack) == ("gpu", "tensorfloat32", 1, 1)
    stacked = choose_device(SETTINGS | {"backend": "jax"}, elsewhere(2))
    assert (stacked.kind, stacked.stack) == ("gpu", 256)


def test_shards_without_a_gpu_train_so_many_runs_at_a_time_as_they_have_cores() -> None:
    pool = elsewhere(0)
    pool.cpus = 3
    found = choose_device(SETTINGS, pool)
    assert (found.kind, found.workers) == ("cpu", 3)
    assert choose_device(SETTINGS | {"workers": 2}, pool).workers == 2


@pytest.mark.parametrize(("kind", "gpus", "said"), [("gpu", 0, "gpus_per_share=1"), ("cpu", 1, "device=auto")])
def test_a_device_that_shards_do_not_have_is_refused(kind: str, gpus: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        choose_device(SETTINGS | {"kind": kind}, elsewhere(gpus))
