"""Power of the paired t test against published figures, R's, and simulation."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from pipeline.statistics import power


def seeds(difference, sd, alpha=0.025, wanted=0.8):
    return power.seeds_to_detect(np.array([difference]), np.array([sd]), np.array([alpha]), wanted)[0]


@pytest.mark.parametrize(("effect", "wanted", "n"), [(0.5, 0.8, 34), (0.5, 0.95, 54), (0.2, 0.8, 199), (0.8, 0.8, 15)])
def test_seeds_of_g_power(effect, wanted, n):
    """G*Power 3, matched pairs, two-sided 5 % (Faul et al. 2007, whose dz = 0.5 takes 34 for 80 % and 54 for 95 %).

    R: `power.t.test(delta = 0.5, power = 0.8, type = "paired")` gives n = 33.37.
    """
    assert seeds(effect, 1.0, wanted=wanted) == n


def test_power_of_g_power():
    """The same: 34 pairs reach 0.8077775."""
    assert power.power_of(np.array(0.5), np.array(34), np.array(0.025)) == pytest.approx(0.8077775, abs=1e-6)


@pytest.mark.parametrize("n", [2, 3, 5, 10, 30])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 60])
def test_the_detectable_effect_has_the_declared_power(n, alpha):
    effect = power.detectable_effect(n, alpha, 0.8)
    critical = stats.t.isf(alpha / 2, n - 1)
    assert stats.nct.sf(critical, n - 1, effect * math.sqrt(n)) == pytest.approx(0.8, abs=1e-6)


def test_one_seed_detects_nothing():
    assert math.isnan(power.detectable_effect(1, 0.05, 0.8))
    assert math.isnan(power.detectable_effect(0, 0.05, 0.8))


@pytest.mark.parametrize("n", [5, 10, 30])
def test_simulated_power_is_what_the_formula_says(n):
    effect = power.detectable_effect(n, 0.05, 0.8)
    samples = np.random.default_rng(n).normal(effect, 1, size=(20_000, n))
    assert np.mean(stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.01)


def test_the_fewest_seeds_detect_and_one_less_does_not():
    n = int(seeds(0.1, 0.131))
    assert power.power_of(np.array(0.1 / 0.131), np.array(n), np.array(0.025)) >= 0.8
    assert power.power_of(np.array(0.1 / 0.131), np.array(n - 1), np.array(0.025)) < 0.8


def test_power_grows_with_the_seeds_however_large_the_effect():
    """scipy's noncentral t gives NaN where the power is 1; taken for too little it would send the search astray."""
    grid = [seeds(difference, 1.0, 0.0004) for difference in np.geomspace(0.05, 1000, 60)]
    assert np.all(np.diff(grid) <= 0)


def test_without_scatter_two_seeds_do():
    assert seeds(0.1, 0.0) == 2


def test_what_nobody_could_train_is_infinite():
    assert seeds(1e-6, 1.0) == math.inf


def test_an_unknown_scatter_needs_an_unknown_number():
    assert math.isnan(seeds(0.1, math.nan))


def decide(declared, sd, comparisons=1, margin=0.1, minimum=0.1):
    sizes = (np.array([minimum]), np.array([margin]), np.array([comparisons]))
    return power.seeds_to_decide(np.array([sd]), *sizes, declared)[0]


def test_with_the_seeds_to_decide_either_verdict_is_within_reach(declared):
    n, random = int(decide(declared, 0.131)), np.random.default_rng(0)
    there, none = (random.normal(mean, 0.131, size=(20_000, n)) for mean in (0.1, 0.0))
    assert np.mean(stats.ttest_1samp(there, 0, axis=1).pvalue < 0.05) >= 0.79
    below = stats.ttest_1samp(none, 0.1, axis=1, alternative="less").pvalue
    above = stats.ttest_1samp(none, -0.1, axis=1, alternative="greater").pvalue
    assert np.mean(np.maximum(below, above) < 0.05) == pytest.approx(0.8, abs=0.04)


def test_a_family_takes_more_seeds(declared):
    assert decide(declared, 0.131, comparisons=60) > 1.5 * decide(declared, 0.131)


def test_never_fewer_than_to_explore(declared):
    assert decide(declared, 0.001) == declared.seeds_to_explore


def test_sign_flips_need_seeds_to_reach_the_level(declared):
    flips = dataclasses.replace(declared, claim_test="sign flip")
    assert decide(flips, 0.001, comparisons=25) == 10
    assert decide(flips, 0.001, comparisons=26) == 11


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 20, 1 / 16, 0.9])
def test_fewest_seeds_of_sign_flips(alpha):
    n = int(power.seeds_for_sign_flips(np.array(alpha)))
    assert 2 / 2**n < alpha <= 2 / 2 ** (n - 1)
