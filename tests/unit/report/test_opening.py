"""Sentences and numbers as people read them."""

from __future__ import annotations

import math

import pytest

from pipeline.cli import formatting
from pipeline.report.prose import opening
from tests.support import factory


def seeds(count: int, optimizer: str = "adam", **job):
    return [factory.finished(factory.job(optimizer, seed=seed, validation=10, **job)) for seed in range(count)]


@pytest.mark.parametrize(
    ("value", "text"), [(0.978, "0.98"), (-0.05, "−0.05"), (-0.001, "0.00"), (math.nan, "–"), (math.inf, "–")]
)
def test_number(value, text):
    assert formatting.number(value) == text


def test_the_answer_is_two_sentences(evidence):
    first, second = opening.answer(evidence)
    assert first.startswith("Among 24 configurations, **")
    assert "% interval" in first
    # 2 to 3 seeds, some lost.
    assert second == "**Who overfits more is not known**: 3 seeds in common carry no claim, it takes 10."


def test_the_answer_on_who_overfits_is_the_verdict(of_runs):
    """Ten seeds of two optimizers that differ in the gap, of which the better one has the larger."""
    runs = [
        factory.finished(factory.job(name, 64, seed, validation=9), test=test + seed / 1e4, gap=gap + seed / 1e5)
        for name, test, gap in (("adam", 0.98, 0.02), ("sgd", 0.9, 0.01))
        for seed in range(10)
    ]
    found = of_runs(runs)
    assert not found.analysis.contrasts["verdict"].eq("overfits more").any()
    assert opening.answer(found)[1] == (
        "**No optimizer is shown to overfit more than the best at its width**: the one declared contrast does not carry "
        "that claim (10 seeds)."
    )


@pytest.mark.parametrize(("count", "said"), [(9, "a smoke test"), (10, "an exploration"), (30, "enough to confirm")])
def test_what_seeds_can_carry(of_runs, count, said):
    assert said in " ".join(opening.certainty(of_runs(seeds(count))))


@pytest.mark.parametrize(("test", "alarm"), [(0.9911, True), (0.9909, False)])
def test_leak_alarm(of_runs, test, alarm):
    found = of_runs([factory.finished(factory.job(), test=test)])
    assert ("Leak alarm" in opening.alarm(found)) is alarm
