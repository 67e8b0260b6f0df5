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
    assert found.standard_error == pytest.approx(np.std(drawn), rel=0.05)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.002)


def test_one_seed_is_scipys_bootstrap_over_images(declared):
    one = CORRECT[:1]
    found = bootstrap.accuracy(one, declared)
    theirs = stats.bootstrap((one[0].astype(float),), np.mean, n_resamples=4999, method="percentile", rng=0)
    assert found.standard_error == pytest.approx(theirs.standard_error, rel=0.05)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.003)
    assert found.over == "images only, there being one seed"


def test_seeds_alone_where_images_are_all_alike(declared):
    """Each seed answers all images the same way: what is left is a bootstrap over seeds, of variance p (1 − p) / S."""
    alike = np.repeat([[True], [True], [False], [True]], 50, axis=1)
    assert bootstrap.accuracy(alike, declared).standard_error == pytest.approx(np.sqrt(0.75 * 0.25 / 4), rel=0.05)


def test_images_alone_where_seeds_are_all_alike(declared):
    """Ten copies of one network are no better known than one."""
    copies = np.repeat(CORRECT[:1], 10, axis=0)
    p = CORRECT[0].mean()
    assert bootstrap.accuracy(copies, declared).standard_error == pytest.approx(np.sqrt(p * (1 - p) / 500), rel=0.05)


def test_the_interval_covers_the_truth_as_often_as_it_says(declared):
    """The truth is the mean over all seeds and images; 30 seeds, so that their number takes little off."""
    few = dataclasses.replace(declared, bootstrap_repetitions=199)
    normal = np.random.default_rng(2).normal(size=1_000_000)
    truth = np.mean(1 / (1 + np.exp(-(1.5 + np.hypot(0.3, 1.5) * normal))))
    found = [bootstrap.accuracy(answers(30, 150, np.random.default_rng(seed)), few) for seed in range(80)]
    covered = np.mean([one.low <= truth <= one.high for one in found])
    assert 0.89 <= covered <= 0.99


def test_the_same_answers_do_not_differ(declared):
    found = bootstrap.difference(CORRECT, CORRECT, declared)
    assert (found.estimate, found.low, found.high, found.standard_error) == (0, 0, 0, 0)


def test_a_difference_on_the_same_images_is_surer_than_two_accuracies(declared):
    other = CORRECT & (np.random.default_rng(3).random(CORRECT.shape) < 0.98)
    found = bootstrap.difference(CORRECT, other, declared)
    assert found.estimate == pytest.approx(CORRECT.mean() - other.mean())
    assert 0 < found.low < found.estimate < found.high
    assert found.standard_error < bootstrap.accuracy(CORRECT, declared).standard_error / 2


def test_the_same_seed_draws_the_same(declared):
    assert bootstrap.accuracy(CORRECT, declared) == bootstrap.accuracy(CORRECT, declared)


def test_all_right_has_no_width(declared):
    found = bootstrap.accuracy(np.ones((3, 20), dtype=bool), declared)
    assert (found.estimate, found.low, found.high) == (1, 1, 1)


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (4,)])
def test_nothing_to_draw_from(declared, shape):
    with pytest.raises(ValueError, match="at least one seed and one image"):
        bootstrap.accuracy(np.ones(shape, dtype=bool), declared)


def test_differences_take_the_same_seeds_and_images(declared):
    with pytest.raises(ValueError, match="same seeds and images"):
        bootstrap.difference(CORRECT, CORRECT[:2], declared)
