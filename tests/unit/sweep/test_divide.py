"""How the runs of a sweep are divided into shards."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import hypothesis
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sweep.executors.shard import divide
from pipeline.sweep.plan import PlannedRun
from pipeline.training.shapes import cost, shape_of
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


def test_each_cut_costs_at_most_one_more_compilation() -> None:
    sweep = runs("sgd", "adam", "lion", "rmsprop", widths=(8, 16), seeds=6)
    for count in (1, 2, 4, 8, 16):
        programs = sum(len({shape_of(run.job) for run in shard}) for shard in divide(sweep, count))
        assert programs <= 8 + count - 1
