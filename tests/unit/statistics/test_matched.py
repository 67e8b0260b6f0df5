"""Two gap curves at one training loss, by hand."""

from __future__ import annotations

import math

import pytest

from pipeline.statistics.matched import at_matched_training_loss


def history(losses, gaps=None):
    gaps = [round(1 - loss, 6) for loss in losses] if gaps is None else gaps
    return {"train/loss": losses, "gap/accuracy": gaps, "gap/loss": [2 * gap for gap in gaps]}


def test_the_level_is_the_lowest_that_both_reached():
    found = at_matched_training_loss(history([0.4, 0.2, 0.1]), history([0.5, 0.3]))
    assert found.training_loss == 0.3


def test_curves_are_read_between_epochs():
    """From 0.4 to 0.2 the level of 0.3 is half-way: of gaps 0.01 and 0.05 it is 0.03."""
    found = at_matched_training_loss(history([0.4, 0.2], [0.01, 0.05]), history([0.5, 0.3], [0.02, 0.025]))
    assert found.a == {"gap_accuracy": pytest.approx(0.03), "gap_loss": pytest.approx(0.06)}
    assert found.b == {"gap_accuracy": 0.025, "gap_loss": 0.05}


def test_who_has_only_fitted_further_has_no_larger_gap():
    """Both curves lie on one line; the gaps at the end differ, those at equal loss do not."""
    found = at_matched_training_loss(history([0.5, 0.2, 0.05]), history([0.6, 0.4, 0.15]))
    assert found.a["gap_accuracy"] == pytest.approx(found.b["gap_accuracy"])


def test_a_loss_that_rises_again_is_read_where_it_first_came_down():
    found = at_matched_training_loss(history([0.4, 0.2, 0.3, 0.1], [0, 1, 2, 3]), history([0.5, 0.25], [0, 0]))
    assert found.a["gap_accuracy"] == pytest.approx(0.75)


def test_no_loss_in_common():
    """One is below the other's lowest loss after its first epoch; what lay before is not known."""
    found = at_matched_training_loss(history([0.1, 0.05]), history([0.5, 0.3]))
    assert math.isnan(found.training_loss)
    assert all(math.isnan(value) for gap in (found.a, found.b) for value in gap.values())


@pytest.mark.parametrize("other", [{}, {"train/loss": []}, history([0.4, math.nan]), {"train/loss": [0.4, 0.2]}])
def test_without_a_curve_nothing_is_matched(other):
    assert math.isnan(at_matched_training_loss(history([0.4, 0.2]), other).training_loss)
    assert math.isnan(at_matched_training_loss(other, history([0.4, 0.2])).training_loss)
