"""How soon a validation accuracy is reached, and the performance profile of Dolan and Moré."""

from __future__ import annotations

import dataclasses
import math

import pandas as pd
import pytest

from pipeline.statistics import targets
from tests.support import factory


def run(accuracies, seconds=10.0, seed=0, optimizer="adam"):
    result = factory.finished(factory.job(optimizer, 8, seed, validation=9, epochs=len(accuracies)))
    return dataclasses.replace(
        result,
        epochs=[],
        history={"train/loss": [0.1] * len(accuracies), "val/accuracy": accuracies},
        figures={"time/train_s": seconds},
    )


def test_the_first_point_that_reaches_the_target():
    row = targets.runs([run([0.90, 0.97, 0.96, 0.98])], 0.97).iloc[0]
    assert (row["epochs"], row["seconds"]) == (2, pytest.approx(5.0))


def test_a_run_that_does_not_reach_it_is_infinitely_late():
    row = targets.runs([run([0.90, 0.92])], 0.97).iloc[0]
    assert (row["epochs"], row["seconds"]) == (math.inf, math.inf)


def test_without_a_validation_split_there_is_no_target():
    assert targets.runs([factory.finished(factory.job("adam", 8))], 0.97).empty


def test_medians_count_what_did_not_reach_it():
    rows = targets.runs([run([0.97], seed=0), run([0.9, 0.97], seed=1), run([0.9, 0.9], seed=2)], 0.97)
    # Their epochs differ, so these are three configurations; as one they have a median.
    found = targets.by_configuration(rows.assign(configuration="x")).iloc[0]
    assert (found["n"], found["reached"], found["epochs"]) == (3, 2, 2)
    late = targets.by_configuration(rows.iloc[1:].assign(configuration="x", epochs=[2, math.inf])).iloc[0]
    assert late["epochs"] == math.inf


def profile(times):
    """`times` by optimizer, then width."""
    rows = [(f"{name} {width}", time) for name, own in times.items() for width, time in own.items()]
    table = pd.DataFrame(rows, columns=["configuration", "epochs"]).assign(seconds=1.0)
    problems = {f"{name} {width}": (name, width) for name, own in times.items() for width in own}
    found = targets.profile(table, problems)
    return found[found["measure"].eq("epochs")]


def test_the_share_of_problems_within_a_factor_of_the_fastest():
    found = profile({"adam": {16: 2, 64: 3}, "sgd": {16: 4, 64: 3}})
    shares = found.pivot(index="tau", columns="optimizer", values="share")
    assert shares.to_dict() == {"adam": {1.0: 1.0, 2.0: 1.0}, "sgd": {1.0: 0.5, 2.0: 1.0}}
    assert set(found["problems"]) == {2}


def test_one_that_never_reaches_the_target_is_within_no_factor():
    found = profile({"adam": {16: 2, 64: 3}, "sgd": {16: math.inf, 64: 3}})
    assert found.loc[found["optimizer"].eq("sgd"), "share"].max() == 0.5


def test_problems_that_not_every_optimizer_was_run_on_are_left_out():
    found = profile({"adam": {16: 2, 64: 3}, "sgd": {16: 4}})
    assert set(found["problems"]) == {1}


def test_problems_that_none_solved_are_left_out():
    assert profile({"adam": {16: math.inf}, "sgd": {16: math.inf}}).empty


def test_of_several_settings_of_an_optimizer_the_fastest_counts():
    times = {"adam slow": 4, "adam fast": 2, "sgd": 3}
    table = pd.DataFrame(times.items(), columns=["configuration", "epochs"]).assign(seconds=1.0)
    found = targets.profile(table, {name: (name.split()[0], 16) for name in times})
    first = found[found["measure"].eq("epochs") & found["tau"].eq(1)].set_index("optimizer")["share"]
    assert first.to_dict() == {"adam": 1.0, "sgd": 0.0}


def test_a_single_optimizer_has_no_profile():
    assert profile({"adam": {16: 2}}).empty
