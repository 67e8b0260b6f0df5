"""The gap at its three points, and the onset, by hand."""

from __future__ import annotations

import dataclasses
import math

import pytest

from pipeline.statistics import gap_points
from pipeline.statistics.gap_points import CHOSEN, LAST, REACHED
from tests.support import factory

HISTORY = {
    "train/loss": [0.30, 0.06, 0.04, 0.02],
    "val/loss": [0.32, 0.12, 0.13, 0.15],
    "val/accuracy": [0.90, 0.97, 0.96, 0.97],
    "gap/accuracy": [0.001, 0.004, 0.009, 0.014],
    "gap/loss": [0.02, 0.06, 0.09, 0.13],
}


def run(history=HISTORY, loss="categorical_crossentropy", **about):
    job = factory.job(**{"optimizer": "adam", "validation": 10, **about})
    job = dataclasses.replace(job, training=dataclasses.replace(job.training, loss=loss))
    return dataclasses.replace(factory.finished(job), history=history)


def points(declared, *results):
    return gap_points.gap_points(results or [run()], declared).set_index("point")


def test_a_row_for_each_point(declared):
    found = points(declared)
    assert found["epoch"].to_dict() == {LAST: 4, CHOSEN: 2, REACHED: 3}
    assert found["gap_accuracy"].to_dict() == {LAST: 0.014, CHOSEN: 0.004, REACHED: 0.009}
    assert found["gap_loss"].to_dict() == {LAST: 0.13, CHOSEN: 0.06, REACHED: 0.09}
    assert found["training_loss"].to_dict() == {LAST: 0.02, CHOSEN: 0.06, REACHED: 0.04}


def test_on_which_samples_the_training_side_is(declared):
    """Before the last epoch on the curve's, of which there are fewer; after it on all."""
    result = run()
    assert not points(declared, result)["on_part"].any()
    part = dataclasses.replace(
        result,
        job=dataclasses.replace(result.job, training=dataclasses.replace(result.job.training, curve_samples=20)),
    )
    found = gap_points.gap_points([part], declared, 100)
    assert found.set_index("point")["on_part"].to_dict() == {LAST: False, CHOSEN: True, REACHED: True}
    assert not gap_points.gap_points([part], declared, 30)["on_part"].any(), "20 are all that it is trained on"
    late = dataclasses.replace(part, history={**HISTORY, "val/accuracy": [0.90, 0.96, 0.96, 0.97]})
    table = gap_points.by_configuration(gap_points.gap_points([part, late], declared, 100)).set_index("point")
    assert table["on_part"].to_dict() == {LAST: 0, CHOSEN: 1, REACHED: 2}


@pytest.mark.parametrize(
    ("losses", "epoch"),
    [([0.3, 0.05, 0.01], 2), ([0.05], 1), ([0.3, 0.04, 0.06, 0.03], 2), ([0.3, 0.2], None), ([], None)],
)
def test_first_epoch_at_the_threshold(losses, epoch):
    assert gap_points.first_reached(losses, 0.05) == epoch


def test_without_validation_no_epoch_is_chosen(declared):
    found = points(declared, factory.finished(factory.job()))
    assert math.isnan(found.loc[CHOSEN, "gap_accuracy"])
    assert (found["held_out"] == "test").all()


def test_means_are_of_the_seeds_that_have_the_point(declared):
    slow = {**HISTORY, "train/loss": [0.4, 0.3, 0.2, 0.12]}
    runs = [run(seed=0), run(seed=1), run(slow, seed=2)]
    found = gap_points.by_configuration(gap_points.gap_points(runs, declared)).set_index("point")
    assert found.loc[REACHED, ["n", "of", "epoch"]].tolist() == [2, 3, 3]
    assert found.loc[REACHED, "gap_accuracy_mean"] == 0.009
    assert found.loc[LAST, ["n", "of"]].tolist() == [3, 3]


# -- onset


@pytest.mark.parametrize(
    ("losses", "epoch"),
    [
        ([5, 4, 3, 4, 5], 3),
        ([5, 4, 3, 4, 3.5, 3.6], 5),
        ([5, 4, 4, 5], 3),
        ([5, 4, 3], None),
        ([], None),
        ([3, math.nan, 4], None),
    ],
)
def test_onset(losses, epoch):
    assert gap_points.onset(losses) == epoch
