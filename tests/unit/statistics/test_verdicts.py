"""The rules of a verdict, all combinations of what may be met and what not."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

from pipeline.report.prose.verdicts import sentence
from pipeline.statistics.verdicts import Grounds, Kind, verdict

CLAIM = Grounds(
    figure="gap_accuracy",
    a="adam",
    b="rmsprop",
    n=12,
    difference=0.002,
    holm=0.01,
    holm_equivalent=1.0,
    minimum_effect=0.001,
    margin=0.001,
    seeds_still_needed=0.0,
    effect_to_find=0.002,
    matched_n=12,
    matched_difference=0.0015,
    matched_holm=0.02,
    test_difference=-0.0003,
    test_p=0.3,
)
ACCURACY = replace(CLAIM, figure="test_accuracy")

UNMET = {
    "declared": {"declared": False},
    "seeds": {"n": 9},
    "significance": {"holm": 0.05},
    "size": {"difference": 0.001},
    "matched seeds": {"matched_n": 9},
    "matched significance": {"matched_holm": 0.05},
    "matched size": {"matched_difference": 0.001},
    "not better": {"test_difference": 0.0003, "test_p": 0.049},
}
"""One value just beyond each rule."""
OF_GAPS = {"matched seeds", "matched significance", "matched size", "not better"}
ALL = [set(some) for size in range(len(UNMET) + 1) for some in itertools.combinations(UNMET, size)]


def judge(grounds: Grounds, declared) -> SimpleNamespace:
    """The verdict with its sentence."""
    found = verdict(grounds, declared)
    return SimpleNamespace(**vars(found), sentence=sentence(grounds, found, declared))


def broken(grounds: Grounds, rules: set[str]) -> Grounds:
    return replace(grounds, **{name: value for rule in rules for name, value in UNMET[rule].items()})


def turned(grounds: Grounds) -> Grounds:
    signs = {name: -getattr(grounds, name) for name in ("difference", "matched_difference", "test_difference")}
    return replace(grounds, a=grounds.b, b=grounds.a, **signs)


# -- every combination


@pytest.mark.parametrize("equivalent", [0.049, 0.05])
@pytest.mark.parametrize("figure", ["gap_accuracy", "gap_loss", "test_accuracy"])
def test_every_combination_of_rules(declared, figure, equivalent):
    """256 each: a claim with all that the figure needs and not otherwise, then equivalence, then nothing."""
    for rules in ALL:
        grounds = replace(broken(CLAIM, rules), figure=figure, holm_equivalent=equivalent)
        needed = set(UNMET) if figure != "test_accuracy" else set(UNMET) - OF_GAPS
        if not rules & needed:
            expected = Kind.MORE_ACCURATE if figure == "test_accuracy" else Kind.OVERFITS_MORE
        elif not rules & {"declared", "seeds"} and equivalent < 0.05:
            expected = Kind.EQUIVALENT
        else:
            expected = Kind.NO_DIFFERENCE
        assert judge(grounds, declared).kind is expected, rules


@pytest.mark.parametrize("figure", ["gap_accuracy", "test_accuracy"])
def test_changing_a_and_b_about_changes_nothing_but_the_order(declared, figure):
    for rules in ALL:
        grounds = replace(broken(CLAIM, rules), figure=figure)
        one, other = judge(grounds, declared), judge(turned(grounds), declared)
        assert (one.kind, one.lacks, one.sentence) == (other.kind, other.lacks, other.sentence)


UNKNOWN = [
    "difference", "holm", "holm_equivalent", "minimum_effect", "margin", "seeds_still_needed", "effect_to_find",
    "matched_difference", "matched_holm", "test_difference", "test_p",
]  # fmt: skip


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_unknown_supports_no_claim(declared, count):
    # Of a test accuracy that is lower it does not matter how sure that is.
    harmless = {"holm_equivalent", "margin", "seeds_still_needed", "effect_to_find", "test_p"}
    for names in itertools.combinations(UNKNOWN, count):
        grounds = replace(CLAIM, **dict.fromkeys(names, math.nan))
        found = judge(grounds, declared)
        assert (found.kind is Kind.OVERFITS_MORE) == (set(names) <= harmless), names
        assert "nan" not in found.sentence


# -- sentences


def test_the_sentence_of_a_claim(declared):
    assert judge(CLAIM, declared).sentence == (
        "adam overfits more than rmsprop: its accuracy gap is larger by 0.20 points (12 seeds, exploratory; Holm p = 0.01), "
        "and by 0.15 points at equal training loss."
    )


def test_the_sentence_of_the_more_accurate(declared):
    assert judge(ACCURACY, declared).sentence == (
        "adam is more accurate than rmsprop: by 0.20 points on the test split (12 seeds, exploratory; Holm p = 0.01)."
    )


def test_the_sentence_of_equivalence(declared):
    found = judge(replace(CLAIM, difference=-0.0002, holm=0.6, holm_equivalent=0.004), declared)
    assert found.sentence == (
        "adam and rmsprop are equivalent within ± 0.1 points in accuracy gap: they differ by 0.02 points (12 seeds; Holm "
        "p = 0.004 of a difference beyond the margin)."
    )


def test_three_seeds_of_adam_and_rmsprop(declared):
    """The worked example: + 0.157 points, SD 0.131, p = 0.17."""
    found = judge(replace(CLAIM, n=3, difference=0.00157, holm=0.1735, seeds_still_needed=14.0), declared)
    assert found.kind is Kind.NO_DIFFERENCE
    assert found.sentence == (
        "No difference shown between adam and rmsprop in accuracy gap (3 seeds, 0.16 points apart): so few carry no claim, it "
        "takes 10; Holm p = 0.17. About 14 more seeds would find a difference of 0.2 points, or that there is none."
    )
    assert found.more_seeds == 14


def test_the_better_one_on_the_test_split(declared):
    found = judge(replace(CLAIM, test_difference=0.004, test_p=0.0001), declared)
    assert "adam is the better one on the test split, by 0.40 points (p < 0.001)" in found.sentence
    assert found.sentence.endswith("More seeds alone would not change that.")


@pytest.mark.parametrize(
    ("needed", "said"),
    [
        (1.0, "About 1 more seed would find a difference of 0.2 points, or that there is none."),
        (0.0, "what there is lies between the two."),
        (1001.0, "It is not decidable by seeds: more than 1,000 would have to be added."),
        (math.inf, "It is not decidable by seeds: more than 1,000 would have to be added."),
        (math.nan, "How many seeds would decide is not known from 12 seeds."),
    ],
)
def test_seeds_still_needed(declared, needed, said):
    assert judge(replace(CLAIM, holm=0.5, seeds_still_needed=needed), declared).sentence.endswith(said)
