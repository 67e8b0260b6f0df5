"""Our figures against published ones: bands and floors by means, orders and shapes by paired differences."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from pipeline.statistics.published import Found, Row, Verdict, judge
from pipeline.training.result import DIVERGED, FINISHED, RunResult
from tests.support.factory import make_job

BAND = Row("x", "source", ("experiment=book",), "test accuracy", 97.8, low=97.2, high=98.4)
ORDER = Row("x", "source", ("experiment=kingma_ba", "optimizer=adam,sgd,nadam"), "training loss", lowest="adam")
FLAT = Row("x", "source", ("experiment=blundell_400,blundell_800",), "test error", flat=0.15)
PEAK = Row("x", "source", ("experiment=belkin", "model.width=4,16,32,64"), "test error", peak=(20, 50))


def runs(values: Sequence[float], name: str = "test/accuracy", **changes: Any) -> list[RunResult]:
    """Return a run for each value, with seeds from 0."""
    return [
        RunResult("", make_job(seed=seed, **changes), FINISHED, metrics={name: value})
        for seed, value in enumerate(values)
    ]


# -- one figure


def test_each_seed_in_the_band() -> None:
    each = replace(BAND, each=True)
    assert judge(each, runs([0.975, 0.98])).verdict is Verdict.INSIDE
    found = judge(each, runs([0.96, 0.98, 0.975]))
    assert (found.verdict, found.about) == (Verdict.PARTLY_INSIDE, ("2",))


def test_ours_is_the_mean_with_its_interval() -> None:
    # Student's t with one degree of freedom is 12.706; the standard error is 0.1.
    assert judge(BAND, runs([0.978, 0.980])).interval == pytest.approx((97.9, 97.9 - 1.2706, 97.9 + 1.2706), abs=1e-4)
    assert judge(BAND, runs([0.978])).interval == pytest.approx((97.8, math.nan, math.nan), nan_ok=True)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.980, 0.981], Verdict.OVER),
        ([0.960, 0.961], Verdict.BELOW),
        ([0.969, 0.973], Verdict.UNDECIDED),
        ([0.99], Verdict.UNDECIDED),
    ],
    ids=str,
)
def test_a_floor_is_beaten_by_the_whole_interval(values: list[float], verdict: Verdict) -> None:
    assert judge(replace(BAND, low=None, high=None, over=97.0), runs(values)).verdict is verdict


def test_the_gap_is_against_the_test_file() -> None:
    """The run's own gap, which may be to other held-out samples, is ignored."""
    [run] = runs([0.9790])
    run.metrics |= {"train/accuracy": 0.9953, "overfitting_gap/accuracy": 0.5}
    assert judge(replace(BAND, measure="gap", low=1.38, high=1.88), [run]).interval[0] == pytest.approx(1.63)


def test_runs_that_were_lost_are_counted() -> None:
    lost = [replace(run, status=DIVERGED, metrics={}) for run in runs([0, 0, 0])]
    found = judge(BAND, [*runs([0.978, 0.980]), *lost])
    assert (found.verdict, found.seeds, found.lost) == (Verdict.INSIDE, 2, 3)
    assert (judge(BAND, lost).verdict, judge(BAND, lost).lost) == (Verdict.LOST, 3)


def test_each_configuration_must_be_over_the_floor() -> None:
    row = replace(BAND, runs=("experiment=deepobs_mlp", "optimizer=sgd,momentum"), low=None, high=None, over=98.0)

    def judged(**values: Sequence[float]) -> Found:
        return judge(row, [run for name, own in values.items() for run in runs(own, optimizer=name)])

    below = judged(sgd=[0.9784, 0.9786], momentum=[0.9850, 0.9851])
    assert (below.verdict, below.seeds, below.interval[0]) == (Verdict.BELOW, 2, pytest.approx(97.85))
    # The wider interval decides, though its mean is the higher one.
    assert judged(sgd=[0.9804, 0.9805], momentum=[0.9795, 0.9835]).verdict is Verdict.UNDECIDED
    assert judged(sgd=[0.9850, 0.9851], momentum=[0.9850, 0.9851]).verdict is Verdict.OVER
    assert judged(momentum=[0.9850, 0.9851]).verdict is Verdict.NOT_IN_FULL


# -- an order


def losses(of: Mapping[str, Sequence[float]]) -> list[RunResult]:
    return [run for name, values in of.items() for run in runs(values, "train/loss", optimizer=name)]


BASE = np.array([0.1, 0.12, 0.15, 0.11, 0.1, 0.12, 0.15, 0.11, 0.1, 0.12])
MORE = BASE + np.array([0.01, 0.011, 0.012, 0.009, 0.01, 0.01, 0.011, 0.012, 0.009, 0.01])
"""Seeds differ more than the optimizers do, so only pairing tells the optimizers apart."""


def test_the_lowest_is_lower_than_each_other_by_a_paired_difference() -> None:
    found = judge(ORDER, losses({"adam": BASE, "sgd": MORE, "nadam": MORE + 0.1}))
    assert found.verdict is Verdict.AS_PUBLISHED
    assert found.means == pytest.approx({"adam": BASE.mean(), "sgd": MORE.mean(), "nadam": MORE.mean() + 0.1})
    assert list(found.differences) == ["sgd − adam", "nadam − adam"]
    # There are two comparisons, so each interval is at 97.5 %.
    ends = stats.ttest_1samp(MORE - BASE, 0).confidence_interval(0.975)
    own = found.differences["sgd − adam"]
    assert (own.mean, own.low, own.high) == pytest.approx((np.mean(MORE - BASE), ends.low, ends.high))


def test_fewer_seeds_than_a_claim_takes_decide_nothing() -> None:
    """conf/comparison.yaml declares how many a claim takes. The differences are shown all the same."""
    few = judge(ORDER, losses({"adam": BASE[:9], "sgd": MORE[:9], "nadam": MORE[:9] + 0.1}))
    assert (few.verdict, few.seeds) == (Verdict.UNDECIDED, 9)
    assert few.differences["sgd − adam"].low > 0


# -- flat


def widths(errors: Mapping[int, Sequence[float]]) -> list[RunResult]:
    """Return runs with these test errors in %, by width."""
    return [run for width, own in errors.items() for run in runs([1 - each / 100 for each in own], width=width)]


SOME = [1.80, 1.84, 1.78, 1.81, 1.80] * 2


@pytest.mark.parametrize(
    ("shift", "scatter", "verdict"),
    [(0.03, 0.02, Verdict.FLAT), (0.5, 0.02, Verdict.NOT_FLAT), (0.1, 0.2, Verdict.UNDECIDED)],
    ids=str,
)
def test_flat_is_a_difference_shown_to_be_within_so_many_points(shift: float, scatter: float, verdict: Verdict) -> None:
    second = [value + shift + sign * scatter for value, sign in zip(SOME, [1, -1] * 5, strict=True)]
    found = judge(FLAT, widths({400: SOME, 800: second}))
    assert found.verdict is verdict
    assert found.differences["800 − 400"].mean == pytest.approx(shift)


# -- a peak


def along(means: Sequence[float], scatter: float) -> list[RunResult]:
    """Return ten seeds at each of four widths, with errors scattered around `means`."""
    random = np.random.default_rng(0)
    own = {width: mean + scatter * random.normal(size=10) for width, mean in zip((4, 16, 32, 64), means, strict=True)}
    return widths(own)


@pytest.mark.parametrize(
    ("means", "verdict", "about"),
    [
        ([30, 10, 20, 5], Verdict.AS_PUBLISHED, ()),
        ([30, 20, 10, 5], Verdict.NO_PEAK, ()),
        ([10, 30, 20, 25], Verdict.PEAK_ELSEWHERE, ("16",)),
        ([30, 10, 12, 20], Verdict.UNDECIDED, ()),
        # The error falls to the end of the published range and rises only after it.
        ([30, 20, 10, 40], Verdict.UNDECIDED, ()),
    ],
    ids=str,
)
def test_a_peak_is_over_a_width_to_its_left_and_one_to_its_right(
    means: list[float], verdict: Verdict, about: tuple[str, ...]
) -> None:
    found = judge(PEAK, along(means, 0.05))
    assert (found.verdict, found.about) == (verdict, about)
