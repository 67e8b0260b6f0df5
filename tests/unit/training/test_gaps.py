"""The overfitting gap: plain differences, with the sign that means overfitting."""

from __future__ import annotations

import pytest

from pipeline.training.gaps import curve_gaps, final_gaps, gap

TRAIN, VAL, TEST = (0.25, 0.75), (0.5, 0.625), (0.75, 0.5)
"""(loss, accuracy)"""


def test_both_gaps_are_positive_where_a_network_overfits() -> None:
    assert gap(TRAIN, TEST) == {"accuracy": 0.25, "loss": 0.5}


def test_both_are_negative_where_it_does_better_on_what_it_has_not_seen() -> None:
    assert gap(TEST, TRAIN) == {"accuracy": -0.25, "loss": -0.5}


def test_the_final_gaps_are_against_held_out_and_against_test_samples() -> None:
    assert final_gaps(TRAIN, TEST, VAL) == {
        "overfitting_gap/accuracy": 0.125, "overfitting_gap/loss": 0.25,
        "book_gap/accuracy": 0.25, "book_gap/loss": 0.5,
        "split_offset/accuracy": 0.125, "split_offset/loss": 0.25,
    }  # fmt: skip


def test_with_nothing_held_out_both_are_against_test_samples() -> None:
    gaps = final_gaps(TRAIN, TEST, None)
    assert (gaps["overfitting_gap/accuracy"], gaps["book_gap/accuracy"]) == (0.25, 0.25)
    assert not any(name.startswith("split_offset/") for name in gaps)


@pytest.mark.parametrize("held_out", ["val", "test"])
def test_the_gap_of_an_epoch_ignores_the_running_figures(held_out: str) -> None:
    metrics = {"running/loss": 9.0, "running/accuracy": 9.0, "train/loss": 0.25, "train/accuracy": 0.75}
    metrics |= {f"{held_out}/loss": 0.75, f"{held_out}/accuracy": 0.5}
    assert curve_gaps(metrics, held_out) == {"gap/accuracy": 0.25, "gap/loss": 0.5}
