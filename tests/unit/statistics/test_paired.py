"""Paired statistics, checked against their inventors' own examples and other implementations."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from scipy import stats

from pipeline.statistics import paired

SLEEP = np.array([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])
"""Hours of sleep gained, Student 1908 (R: `t.test(extra ~ group, paired = TRUE)`: t = 4.0621, p = 0.002833)."""

MAIZE = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48], dtype=float)
"""Darwin's crossed minus self-fertilised maize, in 1/8 inch: Fisher 1935, The Design of Experiments, §§ 17 and 21."""


def of(sample, declared, margin=0.5):
    return paired.describe(np.atleast_2d(np.asarray(sample, dtype=float)), np.array([margin]), declared).iloc[0]


# -- worked examples


def test_students_own_example(declared):
    found = of(SLEEP, declared)
    assert (found["difference"], found["sd"]) == (pytest.approx(1.58), pytest.approx(1.229995, abs=1e-6))
    assert (found["low"], found["high"]) == (pytest.approx(0.7001142, abs=1e-7), pytest.approx(2.4598858, abs=1e-7))
    assert found["p_t"] == pytest.approx(0.002833, abs=1e-6)


def test_fishers_own_example(declared):
    """Fisher counts 863 of the 2¹⁵ sign patterns with a sum of 314 or more: 5.267 % two-sided; t gives 4.970 %."""
    found = of(MAIZE, dataclasses.replace(declared, permutations=2**15))
    assert found["p"] == 2 * 863 / 2**15
    assert found["p_t"] == pytest.approx(0.0497, abs=1e-4)


# -- against other implementations


def enumerated(sample: np.ndarray) -> float:
    flips = np.array(list(itertools.product([1, -1], repeat=len(sample))))
    means = np.abs((flips * sample).mean(axis=1))
    return float(np.mean(means >= abs(sample.mean()) - 1e-12))


@pytest.mark.parametrize("n", [3, 10])
def test_sign_flips_are_enumerated(declared, n):
    sample = np.random.default_rng(n).normal(0.5, size=n)
    assert of(sample, declared)["p"] == pytest.approx(enumerated(sample))


@pytest.mark.parametrize("margin", [0.5, 2.0])
def test_equivalence_by_two_one_sided_tests(declared, margin):
    error = stats.sem(SLEEP)
    ts = ((SLEEP.mean() + margin) / error, (margin - SLEEP.mean()) / error)
    assert of(SLEEP, declared, margin)["p_equivalent"] == pytest.approx(max(stats.t.sf(ts, 9)))


def test_holms_family_counts_what_is_unknown():
    from statsmodels.stats.multitest import multipletests

    found = paired.holm(np.array([0.01, math.nan, 0.03]))
    assert math.isnan(found[1])
    assert found[[0, 2]] == pytest.approx(multipletests([0.01, 1.0, 0.03], method="holm")[1][[0, 2]])


def test_samples_of_different_sizes_keep_their_order(declared):
    samples = [SLEEP, SLEEP[:3], np.empty(0), SLEEP - 1]
    found = paired.described(samples, np.full(4, 0.5), declared)
    assert found["difference"].tolist() == pytest.approx([1.58, SLEEP[:3].mean(), math.nan, 0.58], nan_ok=True)
    assert found.iloc[1].tolist() == pytest.approx(of(SLEEP[:3], declared).tolist(), nan_ok=True)


# -- too few or equal differences


def test_one_seed_has_a_difference_and_no_test(declared):
    found = of([0.3], declared)
    assert found["difference"] == 0.3
    assert found[["effect_size", "sd", "low", "high", "p_t", "p", "p_equivalent"]].isna().all()


@pytest.mark.parametrize(("margin", "p"), [(0.5, 0), (0.2, 1)])
def test_equal_differences(declared, margin, p):
    found = of([0.3] * 5, declared, margin)
    assert (found["sd"], found["low"], found["high"]) == (0, pytest.approx(0.3), pytest.approx(0.3))
    assert math.isnan(found["p_t"])
    assert found["p"] == 2 / 2**5
    assert found["p_equivalent"] == p
