"""The whole analysis, of a complete sweep and of runs that lack something."""

import dataclasses

import numpy as np
import pytest

from pipeline.statistics import crossed
from pipeline.statistics.analysis import analysis
from pipeline.training.result import DIVERGED
from tests.support import factory


def sweep(optimizers=("sgd", "rmsprop", "adam"), widths=(64, 512), seeds=range(10), **job):
    job = {"validation": 10, **job}
    return [
        factory.finished(factory.job(optimizer, width, seed, **job))
        for optimizer in optimizers
        for width in widths
        for seed in seeds
    ]


@pytest.fixture(scope="module")
def arrays():
    return factory.arrays()


@pytest.fixture(scope="module")
def whole(quick, arrays):
    return analysis(sweep(), quick, arrays)


def test_test_accuracys_interval_is_over_the_very_answers(whole, arrays):
    name = whole.configurations.index[0]
    correct = np.array([r.predictions == arrays.test_labels for r in sweep() if r.job.configuration == name])
    low, high = whole.configurations.loc[name, ["test_accuracy_low_images", "test_accuracy_high_images"]]
    assert (low, high) == pytest.approx(crossed.of_answers(correct, 0.95))


def test_predictions_are_not_scored_with_the_labels_of_other_data(quick, arrays):
    edited = dataclasses.replace(arrays, test_labels=(arrays.test_labels + 5) % 10, digest="e" * 64)
    row = analysis(sweep(("adam",), (64,), range(2)), quick, edited).configurations.iloc[0]
    assert row["test_accuracy_low_images"] < row["test_accuracy_mean"] < row["test_accuracy_high_images"]


def test_no_runs(quick, arrays):
    found = analysis([], quick, arrays)
    assert found.best is None
    for table in (found.configurations, found.contrasts, found.levels):
        assert table.empty


def test_an_optimizer_that_always_diverges(quick, arrays):
    lost = [
        factory.lost(factory.job("nadam", width, seed, 10), DIVERGED, "nan")
        for width in (64, 512)
        for seed in range(10)
    ]
    found = analysis([*sweep(), *lost], quick, arrays)
    rows = found.contrasts[found.contrasts["a"].eq("nadam, width 64")]
    assert (rows["n"] == 0).all()
    assert (rows["verdict"] == "no difference shown").all()
    assert (rows["lost_a"] == 10).any()


def test_nothing_held_out(quick, arrays):
    """As in the book: gaps and curves use the test split, and no best configuration is chosen."""
    found = analysis(sweep(validation=0), quick, arrays)
    assert found.best is None
    gaps = found.configurations[["gap_accuracy_mean", "book_gap_accuracy_mean"]]
    assert gaps["gap_accuracy_mean"].tolist() == gaps["book_gap_accuracy_mean"].tolist()
    assert found.contrasts.loc[found.contrasts["figure"].eq("excess_loss"), "n"].eq(10).all()
