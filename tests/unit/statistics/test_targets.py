"""How soon a validation accuracy is reached."""

from __future__ import annotations

import dataclasses
import math

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


def test_medians_count_what_did_not_reach_it():
    rows = targets.runs([run([0.97], seed=0), run([0.9, 0.97], seed=1), run([0.9, 0.9], seed=2)], 0.97)
    # Their epochs differ, so these are three configurations; as one they have a median.
    found = targets.by_configuration(rows.assign(configuration="x")).iloc[0]
    assert (found["n"], found["reached"], found["epochs"]) == (3, 2, 2)
    late = targets.by_configuration(rows.iloc[1:].assign(configuration="x", epochs=[2, math.inf])).iloc[0]
    assert late["epochs"] == math.inf
