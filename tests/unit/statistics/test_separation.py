"""How well classes lie apart: clouds of which the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.statistics.separation import between_classes, neighbourhood_hit, plane

LABELS = np.repeat(np.arange(4), 50)


def clouds(apart: float, dimensions: int = 5) -> np.ndarray:
    """Four round clouds of variance 1 in each dimension, their centres `apart` times a corner of a square."""
    random = np.random.default_rng(0)
    corners = np.pad(np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]], float), ((0, 0), (0, dimensions - 2)))
    return apart * corners[LABELS] + random.normal(size=(len(LABELS), dimensions))


def test_clouds_far_apart_have_neighbours_of_their_own() -> None:
    assert neighbourhood_hit(clouds(50), LABELS) == 1
    assert between_classes(clouds(50), LABELS) > 0.99


def test_one_cloud_has_neighbours_by_chance() -> None:
    assert neighbourhood_hit(clouds(0), LABELS) == pytest.approx(0.25, abs=0.05)
    assert between_classes(clouds(0), LABELS) == pytest.approx(3 / 199, abs=0.02)


def test_a_point_is_not_its_own_neighbour() -> None:
    assert neighbourhood_hit(np.array([[0.0], [0.1], [5.0], [5.1]]), np.array([0, 1, 0, 1]), neighbours=1) == 0


def test_the_hit_is_that_of_another_hand() -> None:
    from sklearn.neighbors import NearestNeighbors

    points = clouds(1)
    nearest = NearestNeighbors(n_neighbors=10).fit(points).kneighbors(return_distance=False)
    assert neighbourhood_hit(points, LABELS) == pytest.approx((LABELS[nearest] == LABELS[:, None]).mean(), abs=1e-9)


def test_the_share_between_is_the_variance_of_the_means() -> None:
    points = np.array([[0.0, 0.0], [2.0, 0.0], [10.0, 0.0], [12.0, 0.0]])
    assert between_classes(points, np.array([0, 0, 1, 1])) == pytest.approx(100 / 104)


def test_the_plane_is_that_of_the_principal_components() -> None:
    from sklearn.decomposition import PCA

    points = clouds(2)
    places, seen = plane(points)
    other = PCA(2).fit(points)
    assert seen == pytest.approx(other.explained_variance_ratio_.sum())
    assert np.abs(places) == pytest.approx(np.abs(other.transform(points)), abs=1e-9)
