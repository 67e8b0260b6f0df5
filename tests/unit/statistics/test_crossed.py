"""Intervals over seeds and images, checked against statsmodels, a simulated truth and by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.statistics import crossed


def answers(seeds, images, random, mean=0.95, seed_sd=0.01, image_sd=2.0):
    """Simulate which seed is right on which image: some images are hard for all, some seeds are a little better."""
    base = stats.norm.ppf(mean) * np.sqrt(1 + image_sd**2)
    hard, own = random.normal(0, image_sd, images), random.normal(0, seed_sd, (seeds, 1))
    return base + hard + own + random.normal(size=(seeds, images)) > 0


def test_against_an_analysis_of_variance_of_statsmodels():
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    correct = answers(4, 25, np.random.default_rng(0), mean=0.7)
    frame = pd.DataFrame([(s, i, float(correct[s, i])) for s in range(4) for i in range(25)], columns=["s", "i", "y"])
    mean_squares = anova_lm(ols("y ~ C(s) + C(i)", frame).fit())["mean_sq"]
    seeds, images, rest = (mean_squares[name] / 100 for name in ("C(s)", "C(i)", "Residual"))
    degrees = (seeds + images) ** 2 / (seeds**2 / 3 + images**2 / 24)
    half = stats.t.ppf(0.975, degrees) * math.sqrt(max(seeds + images - rest, seeds, images))
    low, high = crossed.of_answers(correct, 0.95)
    assert (low, high) == (pytest.approx(correct.mean() - half), pytest.approx(correct.mean() + half))


@pytest.mark.parametrize("seed_sd", [0.02, 0.3])
def test_it_covers_the_accuracy_of_new_seeds_on_new_images(seed_sd):
    random = np.random.default_rng(1)
    truth = stats.norm.cdf(stats.norm.ppf(0.95) * math.sqrt(5) / math.sqrt(1 + 4 + seed_sd**2))
    ends = [crossed.of_answers(answers(10, 1000, random, seed_sd=seed_sd), 0.95) for _ in range(600)]
    covered = np.mean([low <= truth <= high for low, high in ends])
    assert covered == pytest.approx(0.95, abs=0.025)


def test_shares_by_hand():
    """The variance of the mean is 0.0001 / 3 over the seeds 0.97, 0.98, 0.99, and 0.98 x 0.02 / 10,000 over images."""
    low, high = crossed.of_shares([0.97, 0.98, 0.99], 0.98, 10_000, 0.95)
    seeds, images = 1e-4 / 3, 0.98 * 0.02 / 10_000
    degrees = (seeds + images) ** 2 / (seeds**2 / 2 + images**2 / 9_999)
    half = stats.t.ppf(0.975, degrees) * math.sqrt(seeds + images)
    assert (low, high) == (pytest.approx(0.98 - half), pytest.approx(0.98 + half))
