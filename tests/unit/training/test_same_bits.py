"""A run's bits do not depend on the number of workers, the order of jobs or the runs that train beside it."""

import numpy as np
import pytest

from pipeline.data.arrays import Arrays
from pipeline.training.result import RunResult
from tests.support.factory import make_job
from tests.unit.training.trainer import bits, cut, device, train

SEEDS = [make_job("momentum", seed=seed, epochs=2, dropout=0.2) for seed in range(3)]
SHAPES = [
    make_job(name, width=width, seed=seed) for name in ("adam", "nesterov") for width in (4, 8) for seed in (0, 1)
]


@pytest.mark.parametrize("xla", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_neither_workers_nor_company_nor_time_change_a_bit(digits: Arrays, xla: bool) -> None:
    """Each of the two workers has its own program."""
    together = train(SEEDS, cut(digits, 237), device(workers=2, xla=xla))
    [alone] = train([SEEDS[1]], cut(digits, 237), device(workers=1, xla=xla))
    assert bits(alone) == bits(together[1])


@pytest.fixture(scope="module")
def mixed(digits: Arrays) -> list[RunResult]:
    """Eight runs of four shapes."""
    return train(SHAPES, cut(digits, 237), device(xla=False, workers=2))


@pytest.mark.slow
def test_a_mixture_of_shapes_in_another_order_is_the_same(mixed: list[RunResult], digits: Arrays) -> None:
    order = np.random.default_rng(1).permutation(len(SHAPES))
    again = train([SHAPES[place] for place in order], cut(digits, 237), device(xla=False, workers=1))
    assert [bits(result) for result in again] == [bits(mixed[place]) for place in order]


def test_the_same_seed_starts_from_the_same_weights_under_every_optimizer(mixed: list[RunResult]) -> None:
    starts = [result.digests["initial_weights"] for result in mixed]
    assert starts[:4] == starts[4:]
    assert len(set(starts)) == 4
