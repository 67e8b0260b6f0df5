"""The charts: the data that each one draws, and DVC's templates, which must be the same specifications."""

import dataclasses
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.config.run_config import CustomModel, Optimizer
from pipeline.report import charts, plots
from pipeline.report.evidence import Evidence
from pipeline.report.plots import Picture, Pictures
from pipeline.tracking.describe import COLORS
from pipeline.training.result import RunResult
from scripts import dvc_plots
from tests.support import factory
from tests.support.clone import CHECKOUT


def rows(picture: Picture | None) -> list[dict[str, Any]]:
    assert picture is not None
    return picture.spec["data"]["values"]


def names(picture: Picture | None, column: str) -> list[str]:
    return list(dict.fromkeys(row[column] for row in rows(picture)))


def test_the_templates_of_dvc_are_those_of_the_charts() -> None:
    for name, template in dvc_plots.templates().items():
        assert json.loads((CHECKOUT / f".dvc/plots/{name}.json").read_text("utf-8")) == template


def test_optimizers_have_the_same_colours_in_mlflow() -> None:
    """Compares the optimizers of the default sweep, in the order of a report."""
    assert list(zip(sorted(COLORS), charts.OPTIMIZERS, strict=False)) == list(COLORS.items())


def test_what_has_a_value_stands_at_its_tick_side_by_side() -> None:
    values = [
        {"panel": "p", "series": name, "label": name, "x": x, "mean": 1, "low": 0.9, "high": 1.1}
        for name in ("a", "b")
        for x in ("16", "64")
    ]
    drawn = charts.svg(charts.spec(charts.intervals(values, "width", "gap")), "chart")
    for x in ("16", "64"):
        bars = re.findall(rf'"width: {x}; low[^>]*rule mark" transform="translate\(([\d.]+)', drawn)
        [tick] = re.findall(rf"translate\(([\d.]+)[^>]*>{x}<", drawn)
        assert len({*bars}) == 2
        assert np.mean([float(bar) for bar in bars]) == pytest.approx(float(tick), abs=1)


def swept(part: str, field: str, options: Sequence[Any]) -> list[RunResult]:
    """Return two seeds for each value of one field of the model or of training."""
    jobs = [factory.job("adam", 64, seed, 9) for seed in range(2)]
    changed = [(job, dataclasses.replace(getattr(job, part), **{field: value})) for job in jobs for value in options]
    return [factory.finished(dataclasses.replace(job, **{part: values})) for job, values in changed]


@pytest.mark.parametrize(("places", "lines"), [((16, 64), 1), (("dense, width 16", "logistic"), 0)])
def test_a_line_joins_numbers_and_no_names(places: tuple[object, object], lines: int) -> None:
    values = [
        {"x": place, "series": "adam", "label": "adam", "panel": "", "mean": 1.0, "low": 0.5, "high": 1.5}
        for place in places
    ]
    drawn = charts.svg(charts.spec(charts.intervals(values, "network", "gap")), "chart")
    assert drawn.count('aria-roledescription="line mark"') == lines


def test_a_panel_for_each_setting_a_colour_for_each_width(of_runs):
    jobs = [factory.job(name, width, seed, 9) for name in ("adam", "sgd") for width in (4, 16) for seed in range(2)]
    deep = [
        factory.finished(
            dataclasses.replace(job, model=dataclasses.replace(job.model, hidden=job.model.hidden * depth))
        )
        for job in jobs
        for depth in (1, 2)
    ]
    found = Pictures(of_runs(deep))
    assert names(found.gap, "panel") == names(found.fit, "panel") == ["1 layer", "2 layers"]
    assert (names(found.gap, "series"), names(found.gap, "x")) == (["adam", "sgd"], [4, 16])
    assert names(found.fit, "series") == names(found.excess, "series") == ["width 4", "width 16"]
    assert "adam, width 4, 2 layers" in names(found.fit, "label")


def test_a_factor_of_numbers_is_an_axis_and_one_of_names_is_too(of_runs):
    found = Pictures(of_runs(swept("model", "dropout", (0.0, 0.2, 0.5))))
    assert names(found.gap, "x") == [0, 0.2, 0.5]
    assert names(found.excess, "series") == ["dropout 0.0", "dropout 0.2", "dropout 0.5"]
    named = Pictures(of_runs(swept("training", "schedule", ("constant", "cosine"))))
    assert names(named.gap, "x") == ["schedule constant", "schedule cosine"]


def test_all_samples_stand_right_of_fewer(of_runs):
    found = Pictures(of_runs(swept("dataset", "train_size", (0, 2_000, 10_000))))
    assert names(found.gap, "x") == ["2000", "10000", "all"]
    drawn = [re.search(rf"translate\(([\d.]+)[^>]*>{place}<", found.gap.svg) for place in ("2000", "10000", "all")]
    places = [float(tick[1]) for tick in drawn if tick]
    assert len(places) == 3
    assert places == sorted(places)
    assert found.gap.svg.count('aria-roledescription="line mark"') == 1


def test_a_network_without_a_width_is_in_the_picture_too(of_runs):
    jobs = [factory.job("adam", width, seed, 9) for width in (4, 16) for seed in range(2)]
    logistic = CustomModel("logistic", "pipeline.models.logistic.build", ())
    runs = [factory.finished(job) for job in (*jobs, *(dataclasses.replace(job, model=logistic) for job in jobs[:2]))]
    found = Pictures(of_runs(runs))
    assert names(found.gap, "x") == ["dense, width 16", "dense, width 4", "logistic"]


@pytest.mark.parametrize(
    ("part", "values", "places"),
    [
        ("model", [CustomModel("mine", f"mine.{name}", ()) for name in "ab"], ["build mine.a", "build mine.b"]),
        ("optimizer", [Optimizer("mine", (("learning_rate", 0.1),), f"mine.{name}") for name in "AB"], [""]),
    ],
)
def test_one_name_for_two_functions_or_classes_is_drawn(of_runs, part, values, places):
    jobs = [factory.job("adam", 16, seed, 9) for seed in range(2)]
    runs = [factory.finished(dataclasses.replace(job, **{part: value})) for job in jobs for value in values]
    assert names(Pictures(of_runs(runs)).gap, "x") == places


def test_a_training_loss_near_zero_stays_above_it() -> None:
    assert charts.records(pd.DataFrame({"x": [1.2e-7, None]})) == [{"x": 1.2e-7}, {"x": None}]


def test_a_single_epoch_has_no_curve_to_draw(of_runs):
    runs = [factory.finished(factory.job(name, 8, epochs=1, validation=9)) for name in ("adam", "sgd")]
    found = Pictures(of_runs(runs))
    assert (found.fit, found.excess) == (None, None)


def test_the_lowest_held_out_loss_of_each_line_is_marked(evidence: Evidence):
    marked = [row for row in rows(Pictures(evidence).excess) if row["mark"]]
    assert len(marked) == len({row["label"] for row in marked}) == 24


def test_the_explorer_has_every_finished_run_with_its_curves(evidence: Evidence):
    explored, curves = plots.explored(evidence), plots.run_curves(evidence)
    assert {row["key"] for row in explored} == set(curves) == set(evidence.finished["key"])
    epochs, training, held_out, link = curves[explored[0]["key"]]
    assert len(epochs) == len(training[0]) == len(held_out[1]) == 5
    assert link.startswith("http://127.0.0.1:5000/#/experiments/7/runs/")


def best_network(evidence: Evidence, **changed: Any) -> Pictures:
    evidence.arrays = dataclasses.replace(factory.arrays(), **changed)
    return Pictures(evidence)


def test_hardest_digits_are_those_least_believed(of_runs):
    result, labels = factory.with_network(factory.finished(factory.job())), factory.digits()["test_labels"]
    found = rows(best_network(of_runs([result])).hardest)
    first = result.probabilities[np.arange(360), labels].argmin()
    assert len(found) == plots.HARDEST
    assert found[0]["caption"].startswith(f"{labels[first]} → {result.probabilities[first].argmax()}, ")


def test_rows_of_a_table_are_samples_and_no_pictures(of_runs):
    runs = [factory.finished(factory.job("adam", 64, seed, validation=10_000)) for seed in range(2)]
    factory.with_network(runs[0])
    found = best_network(of_runs(runs, winner=runs[0].key), image_shape=(64,))
    assert found.hardest is None
    assert "on 360 test samples" in found.confusion.caption
