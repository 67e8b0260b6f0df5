"""The crossed bootstrap against drawing seed by seed and image by image, scipy's, and known variances."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from pipeline.statistics import bootstrap


def answers(seeds: int, images: int, random: np.random.Generator, by_seed: float = 0.3, by_image: float = 1.5):
    """Which images are answered correctly, where some seeds are better and some images harder than others."""
    logit = 1.5 + by_seed * random.normal(size=(seeds, 1)) + by_image * random.normal(size=(1, images))
    return random.random((seeds, images)) < 1 / (1 + np.exp(-logit))


CORRECT = answers(8, 500, np.random.default_rng(0))


def test_against_drawing_seeds_and_images_one_by_one(declared):
    """Owen's pigeonhole bootstrap as he describes it, without patterns of answers and multinomial counts."""
    random, (seeds, images) = np.random.default_rng(1), CORRECT.shape
    drawn = [
        CORRECT[random.integers(seeds, size=seeds)][:, random.integers(images, size=images)].mean() for _ in range(2000)
    ]
    found = bootstrap.accuracy(CORRECT, declared)
    assert found.estimate == CORRECT.mean()
    # Of 8 seeds: what a bootstrap falls short of the variance of their means.
    short = CORRECT.mean(axis=1).var(ddof=1) / seeds / seeds
    assert found.standard_error == pytest.approx(np.sqrt(np.var(drawn) + short), rel=0.05)
    # Little wider than the percentiles: here images are the larger part.
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert low - 0.006 < found.low < low
    assert high < found.high < high + 0.006


def test_one_seed_is_scipys_bootstrap_over_images(declared):
    one = CORRECT[:1]
    found = bootstrap.accuracy(one, declared)
    theirs = stats.bootstrap((one[0].astype(float),), np.mean, n_resamples=4999, method="percentile", rng=0)
    assert found.standard_error == pytest.approx(theirs.standard_error, rel=0.05)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.003)


def test_seeds_alone_where_images_are_all_alike(declared):
    """Each seed answers all images the same way: what is left is Student's interval over seeds."""
    alike = np.repeat([[True], [True], [False], [True]], 50, axis=1)
    found = bootstrap.accuracy(alike, declared)
    theirs = stats.ttest_1samp([1, 1, 0, 1], 0)
    assert found.standard_error == pytest.approx(np.sqrt(0.75 * 0.25 / 3), rel=0.03)
    assert (found.low, found.high) == pytest.approx((theirs.confidence_interval().low, 1), abs=0.05)


def test_images_alone_where_seeds_are_all_alike(declared):
    """Ten copies of one network are no better known than one."""
    copies = np.repeat(CORRECT[:1], 10, axis=0)
    p = CORRECT[0].mean()
    assert bootstrap.accuracy(copies, declared).standard_error == pytest.approx(np.sqrt(p * (1 - p) / 500), rel=0.05)


@pytest.mark.parametrize(("seeds", "by_seed"), [(3, 0.6), (10, 0.1), (10, 0.6)])
def test_the_interval_covers_the_truth_as_often_as_it_says(declared, seeds, by_seed):
    """The truth is the mean over all seeds and images; seeds that scatter less than images do, or more."""
    few, rounds = dataclasses.replace(declared, bootstrap_repetitions=199), 300
    normal = np.random.default_rng(2).normal(size=1_000_000)
    truth = np.mean(1 / (1 + np.exp(-(1.5 + np.hypot(by_seed, 1.5) * normal))))
    found = [bootstrap.accuracy(answers(seeds, 150, np.random.default_rng(n), by_seed), few) for n in range(rounds)]
    covered = np.mean([one.low <= truth <= one.high for one in found])
    # Two and a half standard errors of so many rounds; what is too wide only costs, and single answers count twice.
    assert 0.95 - 2.5 * np.sqrt(0.95 * 0.05 / rounds) <= covered


def test_a_difference_on_the_same_images_is_surer_than_two_accuracies(declared):
    other = CORRECT & (np.random.default_rng(3).random(CORRECT.shape) < 0.98)
    found = bootstrap.difference(CORRECT, other, declared)
    assert found.estimate == pytest.approx(CORRECT.mean() - other.mean())
    assert 0 < found.low < found.estimate < found.high
    assert found.standard_error < bootstrap.accuracy(CORRECT, declared).standard_error / 2


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (4,)])
def test_nothing_to_draw_from(declared, shape):
    with pytest.raises(ValueError, match="at least one seed and one image"):
        bootstrap.accuracy(np.ones(shape, dtype=bool), declared)
