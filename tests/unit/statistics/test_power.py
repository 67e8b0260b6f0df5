"""Power of the paired t test and of a claim against published figures, R's, and simulation."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from pipeline.statistics import power


def seeds(difference, sd, alpha=0.05, wanted=0.8, minimum=0.0):
    """Seeds for a claim; without a minimum those of the two-sided t test."""
    return power.seeds_to_claim(*(np.array([size]) for size in (difference, sd, minimum, alpha)), wanted)[0]


def detectable(n, alpha, declared, minimum=0.0, sd=1.0):
    return power.detectable(*(np.array([size]) for size in (sd, minimum, n, alpha)), declared)[0]


@pytest.mark.parametrize(("effect", "wanted", "n"), [(0.5, 0.8, 34), (0.5, 0.95, 54), (0.2, 0.8, 199), (0.8, 0.8, 15)])
def test_seeds_of_g_power(effect, wanted, n):
    """G*Power 3, matched pairs, two-sided 5 % (Faul et al. 2007, whose dz = 0.5 takes 34 for 80 % and 54 for 95 %).

    R: `power.t.test(delta = 0.5, power = 0.8, type = "paired")` gives n = 33.37.
    """
    assert seeds(effect, 1.0, wanted=wanted) == n


@pytest.mark.parametrize("n", [2, 3, 5, 10, 30])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 60])
def test_without_a_minimum_a_claim_has_the_power_of_the_t_test(n, alpha, declared):
    """By the noncentral t distribution, which knows nothing of a minimum."""
    effect = detectable(n, alpha, declared)
    critical = stats.t.isf(alpha / 2, n - 1)
    # Of two seeds the critical t is so large that the power is a step in their SD, which 64 nodes hit less well.
    near = 2e-4 if n > 2 else 6e-3
    assert stats.nct.sf(critical, n - 1, effect * math.sqrt(n)) == pytest.approx(0.8, abs=near)


def test_too_few_seeds_or_unknown_sizes_detect_nothing(declared):
    assert math.isnan(detectable(1, 0.05, declared))
    assert math.isnan(detectable(0, 0.05, declared))
    assert math.isnan(detectable(10, 0.05, declared, minimum=math.nan))
    assert math.isnan(detectable(10, 0.05, declared, sd=math.nan))


@pytest.mark.parametrize("minimum", [0, 0.3, 1.0])
@pytest.mark.parametrize("n", [5, 10, 30])
def test_simulated_power_is_what_the_formula_says(n, minimum, declared):
    effect = detectable(n, 0.05, declared, minimum)
    assert effect > minimum
    samples = np.random.default_rng(n).normal(effect, 1, size=(20_000, n))
    claimed = (stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05) & (samples.mean(axis=1) > minimum)
    assert np.mean(claimed) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("n", [10, 30, 1000])
def test_a_true_difference_of_the_minimum_is_claimed_in_half_of_all_cases_at_most(n):
    assert power.claim_power(np.array(0.5), np.array(0.5), np.array(n), np.array(0.05)) <= 0.5
    samples = np.random.default_rng(n).normal(0.5, 1, size=(5_000, n))
    claimed = (stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05) & (samples.mean(axis=1) > 0.5)
    assert np.mean(claimed) <= 0.52


def test_a_minimum_takes_more_seeds():
    """A mean over 0.1 in 80 % of cases, where the true difference is 0.12 and the SD 0.131: (0.84 x 0.131 / 0.02)²."""
    assert seeds(0.12, 0.131, minimum=0.1) == pytest.approx((stats.norm.isf(0.2) * 0.131 / 0.02) ** 2, abs=1)


def test_power_grows_with_the_seeds_however_large_the_effect():
    """scipy's noncentral t gives NaN where the power is 1; taken for too little it would send the search astray."""
    grid = [seeds(difference, 1.0, 0.0004) for difference in np.geomspace(0.05, 1000, 60)]
    assert np.all(np.diff(grid) <= 0)


def decide(declared, sd, comparisons=1, margin=0.1, minimum=0.1, effect=0.2):
    sizes = {"margin": np.array([margin]), "minimum_effect": np.array([minimum]), "effect_to_find": np.array([effect])}
    return power.seeds_to_decide(np.array([sd]), sizes, np.array([comparisons]), declared)[0]


@pytest.mark.parametrize("effect", [0.15, 0.2])
def test_with_the_seeds_to_decide_either_verdict_is_given(declared, effect):
    """By `verdict` itself, of simulated differences: the effect to find, and none at all."""
    from pipeline.statistics import paired
    from pipeline.statistics.verdicts import Grounds, Kind, verdict

    n, random = int(decide(declared, 0.131, effect=effect)), np.random.default_rng(0)

    def share(true, kind):
        found = paired.describe(random.normal(true, 0.131, size=(4000, n)), np.full(4000, 0.1), declared_t)
        told = [
            verdict(
                Grounds("test_accuracy", "A", "B", n, one.difference, one.p_t, one.p_equivalent, 0.1, 0.1), declared
            )
            for one in found.itertuples()
        ]
        return np.mean([one.kind is kind for one in told])

    declared_t = dataclasses.replace(declared, permutations=99)
    assert share(effect, Kind.MORE_ACCURATE) >= 0.78
    assert share(0.0, Kind.EQUIVALENT) >= 0.78


def test_sign_flips_need_seeds_to_reach_the_level(declared):
    flips = dataclasses.replace(declared, claim_test="sign flip")
    assert decide(flips, 0.001, comparisons=25) == 10
    assert decide(flips, 0.001, comparisons=26) == 11


def test_no_sign_flip_test_of_so_few_detects_anything(declared):
    """Five seeds have no p under 2/32."""
    flips = dataclasses.replace(declared, claim_test="sign flip")
    assert math.isnan(detectable(5, 0.05, flips))
    assert detectable(6, 0.05, flips) == detectable(6, 0.05, declared)


def test_power_of_g_power():
    """The same: 34 pairs reach 0.8077775."""
    assert power.power_of(np.array(0.5), np.array(34), np.array(0.025)) == pytest.approx(0.8077775, abs=1e-6)
