"""Our figures compared with published ones, in words."""

import math
from dataclasses import replace

import pytest

from pipeline.report.prose.published import ours, trained_on, verdict, wanted
from pipeline.statistics.published import Found, Row, Verdict
from tests.support import factory

BAND = Row("x", "source", ("experiment=book",), "test accuracy", 97.8, low=97.2, high=98.4)
ORDER = Row("x", "source", ("optimizer=adam,sgd",), "training loss", lowest="adam")


def test_what_a_row_is_held_against() -> None:
    assert (wanted(BAND), wanted(replace(BAND, each=True))) == ("97.2 to 98.4", "97.2 to 98.4 each")
    assert (wanted(replace(BAND, over=97.0)), wanted(replace(BAND, flat=0.15))) == ("over 97", "within 0.15")
    assert (wanted(ORDER), wanted(replace(BAND, peak=(20, 50)))) == ("adam lowest", "peak from 20 to 50")


def test_ours_with_its_interval() -> None:
    assert ours(Found(BAND, Verdict.INSIDE, 2, interval=(97.9, 96.63, 99.17))) == "97.90 (96.63 to 99.17) %"
    assert ours(Found(BAND, Verdict.INSIDE, 1, interval=(97.8, math.nan, math.nan))) == "97.80 %"
    assert ours(Found(BAND, Verdict.NOT_RUN)) == ""


def test_lost_runs_are_told() -> None:
    found = Found(BAND, Verdict.INSIDE, 2, lost=3, interval=(97.9, 96.63, 99.17))
    assert ours(found).endswith("; 3 runs did not finish")
    assert verdict(Found(BAND, Verdict.LOST, lost=3)) == "all 3 runs did not finish"
    assert verdict(Found(BAND, Verdict.LOST, lost=1)) == "the run did not finish"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Found(BAND, Verdict.INSIDE), "inside"),
        (Found(BAND, Verdict.UNDECIDED, 1), "not decided by 1 seed"),
        (Found(BAND, Verdict.PARTLY_INSIDE, 5, about=("3",)), "3 of 5 seeds inside"),
        (Found(BAND, Verdict.OVER, 5), "over the floor (a sanity check)"),
        (Found(ORDER, Verdict.OTHERS_LOWER, 10, about=("sgd", "nadam")), "not as published: sgd and nadam lower"),
        (Found(BAND, Verdict.PEAK_ELSEWHERE, 10, about=("16",)), "the peak is at 16"),
    ],
)
def test_verdicts(found: Found, said: str) -> None:
    assert verdict(found) == said


def test_what_trained_them_is_told_once() -> None:
    runs = [factory.finished(factory.job(seed=seed)) for seed in range(2)]
    for run in runs:
        run.environment["cpu"] = "AMD EPYC"
        run.identity["numerics"] |= {"backend_version": "2.21", "precision": "float32"}
    assert trained_on(runs) == "CPU AMD EPYC (tensorflow 2.21, float32)"
