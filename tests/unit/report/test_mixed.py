"""What a report says of runs that differ in data, code, device or environment."""

import dataclasses

import pytest

from pipeline.report.prose import limits
from pipeline.statistics import summary
from pipeline.training.result import FAILED
from tests.support import factory

HERE = {"python": "3.11.7", "tensorflow": "2.21.0", "lock": "a" * 64, "numerics_class": "c" * 64}


def runs():
    found = [factory.finished(factory.job("adam", seed=seed)) for seed in range(3)]
    for run in found:
        run.environment = dict(HERE)
    return found


@pytest.mark.parametrize(
    ("part", "said"), [("data", "data"), ("source", "training code"), ("numerics", "device or precision")]
)
def test_what_decides_numbers(part, said):
    """As in the contrasts, means are over all runs, but only like runs are paired."""
    found = runs()
    found[0].identity = {**found[0].identity, part: {"other": 1}}
    assert limits.mixed(found, "The runs") == [
        f"The runs differ in {said}: a mean is over all of them, but only runs with the same {said} are paired."
    ]
    assert summary.origin(found[0]) != summary.origin(found[1]) == summary.origin(found[2])
    lost = dataclasses.replace(found[0], status=FAILED)
    assert limits.mixed([lost, *found[1:]], "The runs") == [], "a run that has no numbers mixes nothing in"


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ({}, ""),
        ({"git_commit": "d" * 40, "command": "x"}, ""),
        (
            {"numerics_class": "f" * 64},
            "machines that compute differently (2 numerics classes: 1 of cccccccc, 1 of ffffffff)",
        ),
        ({"tensorflow": "2.22.0"}, "different environments (tensorflow 2.21.0 and 2.22.0)"),
        ({"lock": "b" * 64}, "different environments (requirements.lock aaaaaaaaaaaaaaaa and bbbbbbbbbbbbbbbb)"),
    ],
)
def test_different_environments_are_said(there: dict[str, str], expected: str) -> None:
    said = limits.different_environments([HERE, HERE | there])
    assert said.startswith(expected)
    assert bool(said) == bool(expected)
