"""How the runs of a sweep are divided into shards."""

from __future__ import annotations

from collections.abc import Sequence

import hypothesis
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sweep.executors.divide import divide
from pipeline.sweep.plan import PlannedRun
from pipeline.training.shapes import shape_of
from tests.support.factory import make_job
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
    sweep = runs("sgd", "adam", "lion", seeds=20)[: len(seconds)]
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


def test_each_cut_costs_at_most_one_more_compilation() -> None:
    sweep = runs("sgd", "adam", "lion", "rmsprop", widths=(8, 16), seeds=6)
    for count in (1, 2, 4, 8, 16):
        divided = divide(sweep, [None] * len(sweep), count)
        programs = sum(len({shape_of(sweep[place].job) for place in shard}) for shard in divided)
        assert programs <= 8 + count - 1
