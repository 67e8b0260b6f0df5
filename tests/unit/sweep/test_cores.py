"""Wide networks on a CPU: a process for each core, to the bits of one process."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.data.arrays import Arrays
from pipeline.sweep.executors import cores
from pipeline.sweep.plan import PlannedRun
from tests.support.slurm import numbers
from tests.unit.training.command import Place
from tests.unit.training.factory import make_job
from tests.unit.training.trainer import device

HERE = device(workers=4)
GIB = 2**30


def runs(digits: Arrays, *hidden: list[int], on: Any = HERE, epochs: int = 4000) -> list[PlannedRun]:
    jobs = [make_job(hidden=layers, seed=seed, epochs=epochs) for seed, layers in enumerate(hidden)]
    return [PlannedRun(job, on, digits, f"{number:064}", {}, []) for number, job in enumerate(jobs)]


@pytest.mark.parametrize(
    ("hidden", "precision", "waits"),
    [
        ([512, 512], "float32", False),
        ([512, 513], "float32", True),
        ([2048], "float32", False),
        ([64, 1200, 1200, 64], "float32", True),
        ([300, 400], "float64", False),
        ([512, 300], "float64", True),
    ],
    ids=str,
)
def test_what_xla_copies_in_more_than_one_part_waits(
    digits: Arrays, hidden: list[int], precision: str, waits: bool
) -> None:
    [one] = runs(digits, hidden, on=replace(HERE, precision=precision))
    assert cores.waits_for_others(one) is waits


@pytest.mark.parametrize(
    "changes", [{"kind": "gpu"}, {"backend": "jax"}, {"trainer": "reference"}, {"xla": False}], ids=str
)
def test_other_engines_have_no_such_threads(digits: Arrays, changes: dict[str, Any]) -> None:
    [one] = runs(digits, [1024, 1024], on=replace(HERE, **changes))
    assert not cores.waits_for_others(one)


WIDE = [1024, 1024]


@pytest.mark.parametrize(
    ("count", "workers", "memory", "processes"),
    [
        (9, 4, 1024 * GIB, 4),
        (3, 4, 64 * GIB, 3),
        (9, 4, 3 * GIB, 2),
        (9, 4, GIB, None),
        (9, 1, 64 * GIB, None),
        (1, 4, 64 * GIB, None),
    ],
    ids=str,
)
def test_as_many_as_trained_at_a_time_and_fit(
    digits: Arrays, count: int, workers: int, memory: int, processes: int | None
) -> None:
    pool = cores.pool(runs(digits, *[WIDE] * count, on=replace(HERE, workers=workers)), memory)
    assert (pool and (pool.shares, pool.at_once, pool.cpus, pool.gpus)) == (processes and (processes, processes, 1, 0))


def test_less_than_a_minute_of_work_starts_no_process(digits: Arrays) -> None:
    many = runs(digits, WIDE, WIDE, epochs=100)
    assert sum(map(cores.operations, many)) < cores.LEAST
    assert cores.pool(many, 64 * GIB) is None


def test_one_wide_run_among_narrow_ones_starts_none(digits: Arrays) -> None:
    assert cores.pool(runs(digits, WIDE, [512], [512, 512], [64]), 64 * GIB) is None


def test_runs_of_two_devices_start_none(digits: Arrays) -> None:
    mixed = [*runs(digits, WIDE, WIDE), *runs(digits, WIDE, on=replace(HERE, precision="float64"))]
    assert cores.pool(mixed, 64 * GIB) is None


@pytest.mark.slow
@pytest.mark.usefixtures("keras")
def test_the_shards_of_two_cores_have_the_bits_of_one_process(
    tmp_path: Path, processed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = ["-m", "optimizer=sgd,adam", "model.width=6", "model.depth=2", "seed=0,1", "training.epochs=2"]
    alone, divided = Place(tmp_path / "one", processed), Place(tmp_path / "two", processed)
    assert alone.train(*grid, "device.workers=2").status == 0
    monkeypatch.setattr(cores, "waits_for_others", lambda run: True)
    monkeypatch.setattr(cores, "LEAST", 0)
    said = divided.train(*grid, "device.workers=2")
    assert said.status == 0, said.err
    assert "in 2 shares of 2, by cores" in said.out
    assert "4 of 4 runs finished" in said.out
    assert [numbers(run) for run in divided.runs] == [numbers(run) for run in alone.runs]
    assert [run.key for run in divided.runs] == [run.key for run in alone.runs]
    assert divided.record.winner == alone.record.winner
    [folder] = (divided.root / "runs" / "shares").iterdir()
    shared = [json.loads((folder / f"{number}.json").read_text()) for number in range(2)]
    assert [one["device"]["workers"] for one in shared] == [1, 1]
