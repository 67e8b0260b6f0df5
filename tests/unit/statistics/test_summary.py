"""Rows, groups, intervals and places, checked by hand."""

import dataclasses
import math

import pandas as pd
import pytest

from pipeline.statistics import summary
from pipeline.training.result import DIVERGED, FAILED
from tests.support import factory


def table_of(*results) -> pd.DataFrame:
    return summary.summarise(summary.tidy({"sweep": list(results)}))


def seeds_of(accuracies, **job):
    return [factory.finished(factory.job(seed=seed, **job), test=value) for seed, value in enumerate(accuracies)]


# -- a row per run


def test_a_row_has_the_results_figures():
    result = factory.finished(factory.job("adam", 64, seed=2, validation=10))
    row = summary.tidy({"sweep": [result]}).iloc[0]
    assert (row["experiment"], row["optimizer"], row["width"], row["depth"], row["seed"]) == ("sweep", "adam", 64, 1, 2)
    assert row["gap_accuracy"] == result.metrics["train/accuracy"] - result.metrics["val/accuracy"]
    assert row["book_gap_accuracy"] == result.metrics["train/accuracy"] - result.metrics["test/accuracy"]
    assert row["split_offset"] == result.metrics["val/accuracy"] - result.metrics["test/accuracy"]
    assert row["best_val_accuracy"] == result.metrics["best/val_accuracy"]


def test_records_without_their_excess_have_it_in_their_curve():
    result = factory.finished(factory.job(validation=10, epochs=4))
    result.history["val/loss"] = [0.3, 0.1, 0.2, 0.25]
    assert summary.metrics_of(result)["excess_loss"] == pytest.approx(0.15)
    assert summary.metrics_of(result)["lowest_epoch"] == 2
    result.metrics |= {"excess/loss": 0.01, "lowest/epoch": 3.0}
    assert summary.metrics_of(result)["excess_loss"] == 0.01
    assert summary.metrics_of(result)["lowest_epoch"] == 3


# -- a row per configuration


def test_seeds_are_repetitions_of_one_configuration():
    row = table_of(*seeds_of([0.87, 0.88, 0.89])).iloc[0]
    assert row["n"] == 3
    assert row["test_accuracy_mean"] == pytest.approx(0.88)
    assert row["test_accuracy_sd"] == pytest.approx(0.01)
    assert row["test_accuracy_high"] == pytest.approx(0.88 + 0.02484138)


def test_a_run_s_name_has_the_values_that_differ_in_its_experiment():
    runs = [factory.finished(factory.with_rate(factory.job("sgd", 64), rate)) for rate in (0.1, 0.01)]
    frame = summary.tidy({"rates": runs, "alone": runs[:1]})
    assert list(frame["name"]) == ["sgd-w64-d1-lr0.1-s0", "sgd-w64-d1-lr0.01-s0", "sgd-w64-d1-s0"]
    curves = summary.curve_points({"rates": runs})
    assert set(curves["name"]) == {"sgd-w64-d1-lr0.1-s0", "sgd-w64-d1-lr0.01-s0"}


def test_failed_and_diverged_are_counted_and_in_no_mean():
    lost = [factory.lost(factory.job(seed=7), FAILED, ""), factory.lost(factory.job(seed=8), DIVERGED, "")]
    row = table_of(*seeds_of([0.97, 0.99]), *lost).iloc[0]
    assert (row["n"], row["failed"], row["diverged"]) == (2, 1, 1)
    assert row["test_accuracy_mean"] == pytest.approx(0.98)


def test_configurations_come_by_validation_accuracy_not_by_test():
    better = factory.finished(factory.job("adam", validation=10), test=0.96)
    worse = factory.finished(factory.job("sgd", validation=10), test=0.98)
    better.metrics["val/accuracy"], worse.metrics["val/accuracy"] = 0.97, 0.95
    assert table_of(worse, better)["optimizer"].to_list() == ["adam", "sgd"]


def test_a_finished_run_counts_before_a_later_failure():
    good, bad = factory.finished(factory.job()), factory.lost(factory.job(), FAILED, "")
    good.started, bad.started = "2025", "2026"
    row = table_of(bad, good).iloc[0]
    assert (row["n"], row["failed"]) == (1, 0)


def with_metric(job, value: float):
    training = dataclasses.replace(job.training, metrics=("my_metrics.macro_f1", "brier_score"))
    run = factory.finished(dataclasses.replace(job, training=training))
    run.metrics |= {
        "val/macro_f1": value,
        "test/macro_f1": value - 0.1,
        "val/brier_score": 0.1,
        "test/brier_score": value,
    }
    return run


def test_an_extra_metric_has_a_mean_and_an_interval_within_its_bounds_and_can_rank():
    jobs = [factory.job(name, 16, seed, 10) for name in ("adam", "sgd") for seed in range(3)]
    runs = [with_metric(job, 0.99 - 0.3 * (job.optimizer.name == "adam") + 0.005 * job.seed) for job in jobs]
    tidy = summary.tidy({"": runs})
    table = summary.summarise(tidy, "val_macro_f1").set_index("optimizer")
    assert list(table.index) == ["sgd", "adam"]
    assert table.loc["adam", "val_macro_f1_mean"] == pytest.approx(0.695)
    assert table.loc["sgd", "val_macro_f1_high"] == 1
    assert table.loc["adam", "test_macro_f1_low"] == pytest.approx(0.595 - 4.302653 * 0.005 / math.sqrt(3))
    assert list(summary.summarise(tidy)["optimizer"]) == ["adam", "sgd"]
    assert list(summary.summarise(tidy, "test_brier_score")["optimizer"]) == ["adam", "sgd"]


def test_a_loss_below_zero_has_a_whole_interval_and_others_none_below_it():
    runs = [factory.finished(factory.job(name, 16, seed)) for name in ("adam", "sgd") for seed in range(2)]
    for run in runs:
        run.metrics |= {"test/loss": -0.9 + 0.1 * run.job.seed, "time/train_s": 1.0 + 9 * run.job.seed}
    row = table_of(*runs).iloc[0]
    assert row["test_loss_low"] < row["test_loss_mean"] < row["test_loss_high"]
    assert row["test_loss_mean"] == pytest.approx(-0.85)
    assert row["seconds_low"] == 0


def test_a_null_level_is_null_in_a_name():
    jobs = [factory.job("adam", 16), factory.job("adam", 16)]
    jobs[1] = dataclasses.replace(jobs[1], training=dataclasses.replace(jobs[1].training, clip_norm=1.0))
    assert list(table_of(*map(factory.finished, jobs))["name"]) == [
        "adam-w16-d1 clip_norm=null",
        "adam-w16-d1 clip_norm=1.0",
    ]


def test_places_of_intervals_that_lie_apart_overlap_or_are_unknown():
    ends = [(3, 4), (math.nan, math.nan), (1, 2), (1.5, 2.5)]
    table = pd.DataFrame(ends, columns=["test_accuracy_low", "test_accuracy_high"]).assign(
        dataset="mnist", experiment="sweep", val_accuracy_mean=math.nan
    )
    found = summary.ranked(table)[["place", "place_to"]]
    assert found.iloc[1].isna().all()
    assert found.iloc[[0, 2, 3]].to_numpy().tolist() == [[1, 1], [2, 3], [2, 3]]
