"""The answers in words, of verdicts that are given: who overfits more in one sentence, and what is still open."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from pipeline.report.prose import answers
from pipeline.statistics.declaration import OPTIMIZERS, WIDTHS, Declaration, load
from pipeline.statistics.verdicts import Kind, Lack

LABELS = ["adam, width 64", "sgd, width 64", "adam, width 16"]


@pytest.fixture
def declared() -> Declaration:
    return load()


def table(labels=LABELS, n=12) -> pd.DataFrame:
    gap = {"gap_accuracy_mean": 0.01, "gap_accuracy_low": 0.009, "gap_accuracy_high": 0.011}
    test = {"test_accuracy_mean": 0.97, "test_accuracy_low": 0.969, "test_accuracy_high": 0.971}
    rows = [{"dataset": "mnist", "label": label, "n": n, "validation": 0.97, **gap, **test} for label in labels]
    return pd.DataFrame(rows, index=labels)


def judged(*verdicts, n=12, figure="gap_accuracy", difference=-0.002, needed=math.nan, contrast=OPTIMIZERS):
    """A row for each verdict; B has the larger figure."""
    rows = [
        {
            "dataset": "mnist", "contrast": contrast, "figure": figure, "n": n, "difference": difference,
            "a": LABELS[1], "b": LABELS[0], "a_configuration": LABELS[1], "b_configuration": LABELS[0], "verdict": kind,
            "lacks": str(Lack.SIGNIFICANCE), "matched_n": n, "margin": 0.001, "more_seeds": needed,
            "effect_to_find": 0.002,
        }
        for kind in verdicts
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_claim_is_the_headline(declared):
    found = answers.headline(table(), judged(Kind.OVERFITS_MORE, Kind.NO_DIFFERENCE), declared)
    assert found.said == "adam, width 64 overfits more than sgd, width 64"
    assert found.grounds == "at equal training loss too (1 of 2 declared contrasts, 12 seeds, exploratory)"


@pytest.mark.parametrize(
    ("contrasts", "said"),
    [
        ([OPTIMIZERS], "No optimizer is shown to overfit more than the best at its width"),
        ([WIDTHS], "No width is shown to overfit more than the next"),
        ([OPTIMIZERS, WIDTHS], "No optimizer and no width is shown to overfit more than another"),
    ],
)
def test_without_a_claim_none_is_shown_to(declared, contrasts, said):
    rows = pd.concat([judged(Kind.NO_DIFFERENCE, Kind.EQUIVALENT, contrast=name) for name in contrasts])
    found = answers.headline(table(), rows, declared)
    assert found.said == said
    assert found.grounds == f"none of {len(rows)} declared contrasts carries that claim (12 seeds)"


DECIDE = "would find a difference of 0.2 points, or that there is none)."


@pytest.mark.parametrize(
    ("needed", "said"),
    [
        ([1], f"is shown (about 1 more seed {DECIDE}"),
        ([12, 40], f"is shown (about 12 to 40 more seeds {DECIDE}"),
        ([12, math.inf], f"is shown (for 1 of them about 12 more seeds {DECIDE}"),
        ([math.nan, math.inf], "is shown (not decidable by seeds)."),
    ],
    ids=str,
)
def test_what_is_open_says_how_many_seeds_would_decide(needed, said):
    rows = pd.concat([judged(Kind.NO_DIFFERENCE, figure="test_accuracy", needed=one) for one in needed])
    text = answers.which(table(), rows, LABELS[0])
    assert text.endswith(said)
    assert f"No difference from {'; '.join([LABELS[1]] * len(needed))}" in text
