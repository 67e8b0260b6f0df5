"""The rules of a verdict, in all combinations of met and unmet ones."""

import itertools
import math

import pytest

from pipeline.statistics.verdicts import Kind, Lack, verdict

CLAIM = {"n": 10, "difference": 0.002, "holm": 0.01, "holm_equivalent": 1.0, "margin": 0.001}
UNMET = {
    Lack.SEEDS: {"n": 9},
    Lack.SIGNIFICANCE: {"holm": 0.05},
    Lack.SIZE: {"difference": 0.001},
}
"""For each rule, a value that just fails it."""
ALL = [some for size in range(len(UNMET) + 1) for some in itertools.combinations(UNMET, size)]


def judge(declared, rules=(), **changed):
    broken = {name: value for rule in rules for name, value in UNMET[rule].items()}
    return verdict(**{**CLAIM, **broken, **changed}, declared=declared)


@pytest.mark.parametrize("equivalent", [0.049, 0.05])
@pytest.mark.parametrize("rules", ALL, ids=str)
def test_every_combination_of_rules(declared, rules, equivalent):
    found = judge(declared, rules, holm_equivalent=equivalent)
    if not rules:
        expected = Kind.LARGER
    elif Lack.SEEDS not in rules and equivalent < 0.05:
        expected = Kind.EQUIVALENT
    else:
        expected = Kind.NO_DIFFERENCE
    assert (found.kind, found.lacks) == (expected, rules)


@pytest.mark.parametrize("name", ["difference", "holm", "margin"])
def test_what_is_unknown_supports_no_claim(declared, name):
    assert judge(declared, **{name: math.nan}).kind is Kind.NO_DIFFERENCE
    assert judge(declared, holm=0.5, holm_equivalent=math.nan).kind is Kind.NO_DIFFERENCE
