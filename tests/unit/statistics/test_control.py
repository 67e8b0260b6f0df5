"""How often something is said that is not so: the A-against-A control, and sweeps with a known truth."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import stats

from pipeline.statistics import paired, power
from pipeline.statistics.declaration import OPTIMIZERS
from pipeline.statistics.verdicts import Kind
from tests.unit.statistics import simulated

POINT = 0.01
RMSPROP = np.array([0.9780, 0.9799, 0.9723, 0.9795, 0.9785, 0.9759, 0.9803, 0.9754, 0.9779, 0.9804])
"""Test accuracy on MNIST of ten seeds of 784-512-10 with rmsprop, five epochs of 50,000 samples."""


@pytest.mark.parametrize(
    "draw",
    [
        lambda random, shape: random.normal(0.978, 0.0018, size=shape),
        lambda random, shape: 1 - random.gamma(2, 0.011, size=shape),
        lambda random, shape: random.choice(RMSPROP, size=shape),
        lambda random, shape: random.binomial(10_000, 0.978, size=shape) / 10_000,
    ],
    ids=["normal", "skewed", "few values", "images"],
)
def test_a_configuration_against_itself_over_disjoint_seeds(declared, draw):
    """Called different in about 5 % of repetitions, not more, by either test."""
    seeds = draw(np.random.default_rng(10), (2000, 20))
    found = paired.describe(seeds[:, :10] - seeds[:, 10:], np.full(2000, 0.001), declared)
    for p in ("p_sign_flip", "p_t"):
        assert 0.035 <= (found[p] < declared.alpha).mean() <= 0.06, p


def test_the_interval_of_a_difference_covers_it(declared):
    found = paired.describe(np.random.default_rng(0).normal(0.3, 1, size=(2000, 10)), np.ones(2000), declared)
    assert ((found["low"] < 0.3) & (found["high"] > 0.3)).mean() == pytest.approx(0.95, abs=0.012)


def test_a_difference_at_the_margin_is_called_equivalent_in_5_percent():
    samples = np.random.default_rng(0).normal(0.001, 0.001, size=(10_000, 20))
    p = paired.equivalence(samples, np.full(10_000, 0.001))
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.005)


# -- families of many sweeps


@pytest.mark.parametrize("alike", [0.0, 0.5, 0.9, 1.0])
def test_sweeps_without_an_effect_claim_one_in_under_5_percent(declared, alike):
    """Six optimizers that are one and the same, two widths, ten seeds; the best at a width against the others.

    `alike`: correlation over seeds of validation accuracy, which chooses the best, and of the figure that is tested. In
    a sweep over MNIST it is up to 0.9 for test accuracy. Holm rejects any where it rejects the smallest p.
    """
    p, comparisons = smallest_p(alike), 2 * 15
    assert (p < declared.alpha / comparisons).mean() <= 0.05


def test_a_best_of_the_same_seeds_would_be_claimed_too_often_by_its_contrasts_alone(declared):
    """Why Holm's correction counts the 15 pairs at a width that the best was chosen from, and not the 5 contrasts."""
    assert (smallest_p(0.9) < declared.alpha / (2 * 5)).mean() > 0.07


@cache
def smallest_p(alike: float, sweeps: int = 4000) -> np.ndarray:
    random = np.random.default_rng(0)
    test, own = (simulated.scatter((sweeps, 2, 6, 10), random) for _ in range(2))
    validation = alike * test + np.sqrt(1 - alike**2) * own
    best = validation.mean(axis=-1).argmax(axis=-1)[..., None, None]
    differences = test - np.take_along_axis(test, best, axis=2)
    others = np.arange(6)[None, None, :] != best[..., 0]
    found = np.ones(others.shape)
    found[others] = stats.ttest_1samp(differences[others], 0, axis=-1).pvalue
    return found.min(axis=(1, 2))


# -- whole sweeps


@pytest.fixture(scope="module")
def quick(declared):
    """Fewer sign flips: here the t test carries the claims."""
    return replace(declared, permutations=99)


def test_the_share_of_false_claims_is_under_5_percent(quick):
    """30 sweeps of six optimizers that are one and the same, two widths, ten seeds."""
    random = np.random.default_rng(5)
    test, own, gap = (simulated.scatter((30, 2, 6, 10), random) for _ in range(3))
    validation, gap = 0.9 * test + np.sqrt(1 - 0.9**2) * own, gap - 0.4 * test
    accuracies = (0.978 + 0.0018 * validation, 0.978 + 0.0018 * test)
    runs = simulated.frame(*accuracies, 0.012 + 0.0015 * gap, simulated.OPTIMIZERS, (64, 512))
    rows = simulated.judged(runs, quick)
    assert set(rows["comparisons"][rows["contrast"].eq(OPTIMIZERS)]) == {30}
    claims = rows["verdict"].isin([Kind.OVERFITS_MORE, Kind.MORE_ACCURATE])
    assert claims.mean() < 0.01
    for _, family in rows.groupby(["contrast", "figure"]):
        # Two standard errors of 30 sweeps over 5 %: many more, without the detour of frames, are above.
        assert claims[family.index].groupby(family["dataset"]).any().mean() <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 30)
    # At matched training loss nothing is known here.
    assert not rows["verdict"].eq(Kind.OVERFITS_MORE).any()


def test_the_power_of_a_sweep_is_what_the_formula_says(quick):
    """Two optimizers, one of them better by what these seeds detect in 80 %: one contrast, so one comparison."""
    seeds, sd = 10, 0.15 * POINT
    sizes = (sd, quick.minimum_effect["test_accuracy"], seeds, quick.alpha)
    [effect] = power.detectable(*(np.array([size]) for size in sizes), quick)
    random = np.random.default_rng(0)
    block = random.normal(size=(60, 1, 1, seeds))
    test = 0.97 + 0.002 * block + sd / np.sqrt(2) * random.normal(size=(60, 1, 2, seeds))
    test[:, :, 1] += effect
    better = np.broadcast_to(np.array([0.96, 0.97])[None, None, :, None], test.shape)
    rows = simulated.judged(simulated.frame(better, test, 0.01 + 0 * test, ("sgd", "adam"), (64,)), quick)
    rows = rows[rows["figure"].eq("test_accuracy")]
    assert len(rows) == 60
    claimed = rows["verdict"].eq(Kind.MORE_ACCURATE)
    assert claimed.mean() == pytest.approx(0.8, abs=2.5 * np.sqrt(0.8 * 0.2 / 60))
    assert rows["detectable"].median() == pytest.approx(effect, rel=0.05)
    assert rows["difference"].mean() == pytest.approx(-effect, rel=0.05)


def test_a_known_effect_is_found_and_what_has_none_is_not(quick):
    """At one width momentum is worse by a point and the four others are alike: claims are of momentum, but for under 5 %."""
    random = np.random.default_rng(7)
    test = 0.97 + 0.0015 * simulated.scatter((20, 1, 5, 12), random)
    test[:, :, 1] -= POINT
    runs = simulated.frame(test, test, 0.01 + 0 * test, ("sgd", "momentum", "rmsprop", "adam", "nadam"), (64,))
    rows = simulated.judged(runs, quick)
    claims = rows[rows["verdict"].eq(Kind.MORE_ACCURATE)]
    true = claims["a"].str.startswith("momentum")
    assert true.sum() == 20
    assert (~true).mean() < 0.05
    assert (claims.loc[true, "difference"] < 0).all()
