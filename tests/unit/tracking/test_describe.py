"""Parameters, metrics and tags of a RunResult, without MLflow."""

import math
from dataclasses import replace
from typing import Any

import pytest

from pipeline.tracking import describe
from pipeline.training.result import RunResult
from tests.support.factory import make_result, tracked_job

START = 1770091506000


def test_parameter_too_long_for_mlflow_says_that_it_was_cut() -> None:
    value = describe.parameters(make_result(job=tracked_job(hidden=tuple(range(1, 3000)))))["model.hidden"]
    assert len(value) == 6000
    assert value.endswith("… (cut)")


def test_a_point_stands_at_its_epoch() -> None:
    """A curve may have a point only every few epochs."""
    points = describe.metrics(make_result(history={"val/loss": [0.3, 0.2]}, epochs=[2, 3], metrics={"test/loss": 1.0}))
    assert [(point.name, point.step) for point in points] == [("val/loss", 2), ("val/loss", 3), ("test/loss", 3)]


def test_epochs_are_spread_over_the_training() -> None:
    points = describe.metrics(make_result())
    assert [point.time - START for point in points if point.name == "val/loss"] == [2000, 4000, 6000]


def test_figure_that_differs_from_the_last_epoch_is_the_latest_value() -> None:
    points = describe.metrics(replace(make_result(), metrics={"train/accuracy": 0.5}))
    assert max((p.step, p.time, p.value) for p in points if p.name == "train/accuracy") == (3, START + 1, 0.5)


def test_the_row_of_a_sweep_has_the_means_over_the_seeds_of_its_best_configuration() -> None:
    def trained(test: float, **job: Any) -> RunResult:
        return make_result(
            job=tracked_job(**job), metrics={"test/accuracy": test, "overfitting_gap/accuracy": 0.012345}
        )

    best, other = trained(0.98, seed=0), trained(0.97, seed=1)
    lost = replace(trained(0.1, seed=2), status="diverged")
    shown = describe.of_best(best, [best, best, other, lost, trained(0.5, hidden=(8,))])
    assert shown == {"test_accuracy_percent": 97.5, "overfitting_gap_points": 1.234}


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_is_left_out_and_named(value: float) -> None:
    result = make_result(history={"train/loss": [1.0, value]}, metrics={"test/loss": value})
    assert len(describe.metrics(result)) == 1
    assert describe.tags(result)["nonfinite"] == f"train/loss@2={value}, test/loss={value}"


@pytest.mark.parametrize("started", ["", "not a time"])
def test_unknown_start_is_now(started: str) -> None:
    assert describe.span(make_result(started=started))[0] > START


@pytest.mark.parametrize("seconds", [-5.0, math.nan, math.inf])
def test_no_negative_or_endless_duration(seconds: float) -> None:
    start, end = describe.span(make_result(metrics={"time/train_s": seconds}))
    assert start == end
