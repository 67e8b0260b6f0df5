"""Choosing a learning rate: as many rates for each optimizer, a search beyond the edge, no credit for luck."""

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.statistics import tuning
from pipeline.statistics.tuning import Tuning
from tests.support import factory


def searched(truth: Callable[[float], float], rates: int = 8, step: float = 1.0) -> dict[float, float]:
    """Return the accuracies of all decades that a search tries, where `truth` gives the accuracy of each."""
    scores = {decade: truth(decade) for decade in (-1.0, 0.0, 1.0)}
    while len(scores) < rates:
        decade = tuning.next_decade(scores, step)
        assert decade not in scores
        scores[decade] = truth(decade)
    return scores


@pytest.mark.parametrize("peak", [-3.2, -0.4, 0.0, 0.3, 1.9, 3.6])
def test_the_peak_is_found_wherever_it_lies(peak: float) -> None:
    scores = searched(lambda decade: 1 - (decade - peak) ** 2 / 100)
    assert len(scores) == 8
    assert tuning.best(scores) == pytest.approx(peak, abs=0.5)
    assert not tuning.at_edge(list(scores), tuning.best(scores))


def test_inside_the_wider_gap_is_halved_then_the_better_neighbours_then_the_lower() -> None:
    assert tuning.next_decade({-1: 0.1, 0: 0.9, 0.5: 0.8}, 1) == -0.5
    assert tuning.next_decade({-1: 0.1, 0: 0.9, 1: 0.8}, 1) == 0.5
    assert tuning.next_decade({-1: 0.8, 0: 0.9, 1: 0.8}, 1) == -0.5


def test_of_equal_rates_the_one_nearest_to_the_default_is_chosen() -> None:
    assert tuning.best({-1: 0.9, 0: 0.9, 1: 0.9}) == 0
    assert tuning.best({-1: 0.9, 0: 0.8, 1: 0.9}) == -1


def tuned(optimizer: str, gain: float, seeds: int = 10, chosen: float = 1.0) -> Tuning:
    """Return a tuning whose chosen rate adds `gain` to the test accuracy, plus a little noise."""

    def run(decade: float, seed: int, test: float) -> object:
        job = factory.with_rate(factory.job(optimizer, 64, seed, 10), 0.01 * 10**decade)
        return factory.finished(job, test=test, gap=0.01)

    random = np.random.default_rng(0)
    base, noise = 0.95 + random.normal(0, 0.01, seeds), random.normal(0, 0.0002, seeds)
    tried = {decade: [run(decade, 100 + seed, 0.9) for seed in range(2)] for decade in (-1.0, 0.0, 1.0, 2.0)}
    for decade, runs in tried.items():
        for result in runs:
            result.metrics["best/val_accuracy"] = 0.95 - 0.01 * abs(decade - chosen)
    default = [run(0, seed, base[seed]) for seed in range(seeds)]
    better = [run(chosen, seed, base[seed] + gain + noise[seed]) for seed in range(seeds)] if chosen else default
    return Tuning(optimizer, {d: 0.01 * 10**d for d in tried}, tried, 3, default, better)


def test_differences_are_paired_by_seed(declared) -> None:
    """Accuracies scatter by a whole point between seeds, differences within a seed by a fiftieth of one."""
    row = tuning.side_by_side([tuned("sgd", 0.003)], declared).iloc[0]
    assert row["difference_test_accuracy_mean"] == pytest.approx(0.003, abs=2e-4)
    assert row["difference_test_accuracy_high"] - row["difference_test_accuracy_low"] < 6e-4
    assert row["default_test_accuracy_high"] - row["default_test_accuracy_low"] > 5e-3
    assert row["verdict"] == "tuned more accurate"


@pytest.mark.parametrize(
    ("gain", "seeds", "verdict"),
    [(0.0005, 10, "equivalent"), (0.003, 3, "no difference shown"), (-0.003, 10, "default more accurate")],
    ids=str,
)
def test_a_verdict_takes_what_is_declared(declared, gain: float, seeds: int, verdict: str) -> None:
    assert tuning.side_by_side([tuned("sgd", gain, seeds)], declared)["verdict"].tolist() == [verdict]


def test_p_is_corrected_for_the_number_of_optimizers(declared) -> None:
    table = tuning.side_by_side([tuned("sgd", 0.0003), tuned("adam", 0.0), tuned("nadam", 0.0, chosen=0.0)], declared)
    assert table["optimizer"].tolist() == ["sgd", "adam", "nadam"]
    assert table["holm"][0] == pytest.approx(min(3 * table["p"].min(), 1))
    assert table["p"][2] == 1
