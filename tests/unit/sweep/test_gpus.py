"""Several GPUs on one machine: a worker for each, with its shard. No machine with two was at hand, so the lists of GPUs
are made up, and the workers train on the CPU, whatever GPU they are given."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.errors import UserError
from pipeline.sweep.executors import gpus, processes
from pipeline.sweep.executors.gpus import Gpus
from pipeline.sweep.plan import PlannedRun
from pipeline.sweep.pool import choose_device
from tests.support.slurm import numbers
from tests.unit.training.command import Place
from tests.unit.training.factory import make_job
from tests.unit.training.trainer import device

ON_GPU = replace(device(xla=False, workers=1), kind="gpu")


def runs(count: int, on: object = ON_GPU) -> list[PlannedRun]:
    return [PlannedRun(make_job(seed=seed), on, None, f"{seed:064}", {}, []) for seed in range(count)]  # type: ignore[arg-type]


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    monkeypatch.delenv(gpus.VISIBLE, raising=False)
    monkeypatch.setattr(gpus, "DRIVER", tmp_path / "gpus")

    def shows(count: int) -> None:
        for number in range(count):
            (tmp_path / "gpus" / f"0000:0{number}:00.0").mkdir(parents=True)

    return shows


@pytest.mark.parametrize(
    ("said", "found"),
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
def test_gpus_are_those_that_a_process_would_see(
    driver: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, said: str | None, found: list[str]
) -> None:
    driver(3)
    if said is not None:
        monkeypatch.setenv(gpus.VISIBLE, said)
    assert gpus.visible() == found


@pytest.mark.parametrize(
    ("shown", "most", "count", "names"),
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
def test_a_sweep_is_divided_among_them(
    driver: Callable[[int], None], shown: int, most: int, count: int, names: list[str] | None
) -> None:
    driver(shown)
    pool = gpus.pool(runs(count), {"gpus": most})
    assert (pool and pool.names) == names


def test_what_trains_on_the_cpu_is_not(driver: Callable[[int], None]) -> None:
    driver(4)
    assert gpus.pool(runs(9, replace(ON_GPU, kind="cpu")), {"gpus": 0}) is None


def test_each_worker_sees_one_gpu_and_no_other(tmp_path: Path) -> None:
    """As many at a time as there are GPUs; who comes later gets the one that is free."""
    said = tmp_path / "said"
    said.mkdir()
    (tmp_path / "look.py").write_text(
        "import os, sys, time, pathlib\n"
        f"pathlib.Path({str(said)!r}, pathlib.Path(sys.argv[1]).stem).write_text(os.environ['CUDA_VISIBLE_DEVICES'])\n"
        "time.sleep(0.5 if sys.argv[1].endswith('0.json') else 60)\n"
    )

    def work(_: str) -> str:
        return ""

    work.__module__ = "look"
    pool = Gpus(["GPU-a", "GPU-b"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        first = pool.start(work, [tmp_path / "0.json", tmp_path / "1.json"])
        assert pool.alive(first) == {*first}
        pool._workers[first[0]].wait(20)
        [last] = pool.start(work, [tmp_path / "2.json"])
    while sum(bool(path.read_text()) for path in said.iterdir()) < 3:
        assert pool.alive([last, first[1]])
    assert pool.alive([*first, last]) == {first[1], last}
    pool.cancel([first[1], last])
    assert pool.alive([*first, last]) == set()
    assert {path.name: path.read_text() for path in said.iterdir()} == {"0": "GPU-a", "1": "GPU-b", "2": "GPU-a"}
    assert [pool.fate(job) for job in (first[0], last)] == ["", "killed by SIGTERM"]


def test_a_worker_that_cannot_be_started_leaves_no_other_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    begin = subprocess.Popen

    def popen(*_: Any, **options: Any) -> subprocess.Popen[bytes]:
        if started:
            raise OSError(24, "Too many open files")
        started.append(begin(["sleep", "60"], **options))
        return started[0]

    monkeypatch.setattr(processes.subprocess, "Popen", popen)
    with pytest.raises(OSError, match="Too many"):
        Gpus(["0", "1"]).start(lambda file: file, [tmp_path / "0.json", tmp_path / "1.json"])
    assert started[0].wait(20) == -signal.SIGTERM


@pytest.mark.long
def test_the_shards_of_two_workers_have_the_bits_of_one_process(
    tmp_path: Path, processed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the launcher `batched`, as where this machine had two GPUs."""
    grid = ["-m", "optimizer=sgd,adam", "model.width=4", "seed=0,1", "training.epochs=2"]
    alone, divided = Place(tmp_path / "one", processed), Place(tmp_path / "two", processed)
    assert alone.train(*grid).status == 0
    monkeypatch.setattr(gpus, "pool", lambda runs, settings: Gpus(["0", "1"]))
    said = divided.train(*grid)
    assert said.status == 0, said.err
    assert "in 2 shares of 2, by gpus" in said.out
    assert [numbers(run) for run in divided.runs] == [numbers(run) for run in alone.runs]
    assert divided.record.winner == alone.record.winner
    [folder] = (divided.root / "runs" / "shares").iterdir()
    assert json.loads((folder / "jobs.json").read_text())["over"]


# --- devices of shards elsewhere


class Elsewhere:
    """What of a pool says which device its shards have."""

    cpus = 3

    def __init__(self, gpus: int) -> None:
        self.gpus = gpus


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
    found = choose_device(SETTINGS | {"precision": "tensorfloat32"}, Elsewhere(1))  # type: ignore[arg-type]
    assert (found.kind, found.precision, found.workers, found.stack) == ("gpu", "tensorfloat32", 1, 1)
    stacked = choose_device(SETTINGS | {"backend": "jax"}, Elsewhere(2))  # type: ignore[arg-type]
    assert (stacked.kind, stacked.stack) == ("gpu", 256)


def test_shards_without_train_so_many_runs_at_a_time_as_they_have_cores() -> None:
    found = choose_device(SETTINGS, Elsewhere(0))  # type: ignore[arg-type]
    assert (found.kind, found.workers) == ("cpu", 3)
    assert choose_device(SETTINGS | {"workers": 2}, Elsewhere(0)).workers == 2  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "gpus", "said"), [("gpu", 0, "gpus_per_share=1"), ("cpu", 1, "device=auto")])
def test_a_device_that_shards_do_not_have_is_refused(kind: str, gpus: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        choose_device(SETTINGS | {"kind": kind}, Elsewhere(gpus))  # type: ignore[arg-type]


def test_nothing_of_it_is_in_a_run_s_key() -> None:
    assert "gpus" not in json.dumps(make_job(gpus=3).to_dict()) + json.dumps(ON_GPU.numerics())
    assert os.environ.get(gpus.VISIBLE) is None or gpus.visible() is not None
