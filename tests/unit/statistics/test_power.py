"""Power of the paired t test and of a claim, checked against published figures and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from pipeline.statistics import paired, power
from pipeline.statistics.verdicts import Kind, verdict


def detectable(n, declared, comparisons=1, margin=0.0, sd=1.0):
    return power.detectable(*(np.array([size], float) for size in (sd, margin, n, comparisons)), declared)[0]


def decide(declared, sd, comparisons=1, margin=0.1):
    return power.seeds_to_decide(*(np.array([size], float) for size in (sd, margin, comparisons)), declared)[0]


@pytest.mark.parametrize(("effect", "wanted", "n"), [(0.5, 0.8, 34), (0.5, 0.95, 54), (0.2, 0.8, 199), (0.8, 0.8, 15)])
def test_seeds_of_g_power(effect, wanted, n):
    """G*Power 3, matched pairs, two-sided 5 % (Faul et al. 2007): d_z = 0.5 needs 34 seeds for 80 % and 54 for 95 %."""
    fewer, enough = power.effect(np.array([n - 1, n]), np.array(0.025), wanted)
    assert enough <= effect < fewer


@pytest.mark.parametrize("margin", [0, 0.3, 1.0])
@pytest.mark.parametrize("n", [10, 30])
def test_what_is_detectable_is_claimed_with_about_the_declared_power(n, margin, declared):
    effect = detectable(n, declared, margin=margin)
    assert effect > margin
    samples = np.random.default_rng(n).normal(effect, 1, size=(20_000, n))
    claimed = (stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05) & (samples.mean(axis=1) > margin)
    assert 0.73 < np.mean(claimed) < 0.81


def test_seeds_to_decide_are_those_at_which_claims_are_made(declared):
    assert [decide(declared, sd) for sd in (0.01, 0.09, 0.15, 0.3)] == [10, 10, 30, math.inf]
    assert decide(declared, 0.09, comparisons=20) == 30


@pytest.mark.parametrize(("sd", "n"), [(0.09, 10), (0.15, 30)])
def test_with_the_seeds_to_decide_either_verdict_is_given(declared, quick, sd, n):
    """Applies `verdict` to simulated differences: twice the margin, and none at all."""
    assert decide(declared, sd) == n
    random = np.random.default_rng(0)

    def share(true, kind):
        found = paired.describe(random.normal(true, sd, size=(4000, n)), np.full(4000, 0.1), quick)
        told = [
            verdict(n, row.difference, row.p_t, row.p_equivalent, 0.1, quick).kind
            for row in found.itertuples(index=False)
        ]
        return np.mean([each is kind for each in told])

    assert share(0.2, Kind.LARGER) >= 0.78
    assert share(0.0, Kind.EQUIVALENT) >= 0.78
