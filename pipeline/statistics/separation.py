"""How well classes lie apart in a cloud of points, such as the outputs of a layer for a number of images."""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg import eigh

NEIGHBOURS = 10


def neighbourhood_hit(points: np.ndarray, labels: np.ndarray, neighbours: int = NEIGHBOURS) -> float:
    """Share, in [0, 1], of each point's nearest neighbours that are of its own class, mean over the points.

    `points` float (n, k), distances Euclidean; `labels` integers (n,). NaN of fewer than two points. Paulovich et al. 2008
    (IEEE Transactions on Visualization and Computer Graphics 14, 564-575). By chance it is the sum of the squared shares
    of the classes: 0.1 of ten equal ones.
    """
    count = len(points)
    if count < 2:
        return math.nan
    neighbours = min(neighbours, count - 1)
    points = np.asarray(points - np.mean(points, axis=0), dtype=np.float32)
    squares = (points**2).sum(axis=1)
    # Squared distances, but for what all of a row share; a product of matrices is a hundred times as fast as differences.
    distances = squares[None, :] - 2 * points @ points.T
    np.fill_diagonal(distances, np.inf)
    nearest = np.argpartition(distances, neighbours - 1, axis=1)[:, :neighbours]
    return float((np.asarray(labels)[nearest] == np.asarray(labels)[:, None]).mean())


def between_classes(points: np.ndarray, labels: np.ndarray) -> float:
    """Share, in [0, 1], of the variance of `points` that lies between the means of the classes: the correlation ratio η².

    Shapes as for `neighbourhood_hit`. NaN where all points are one.
    """
    points, labels = np.asarray(points, dtype=np.float64), np.asarray(labels)
    centred = points - points.mean(axis=0)
    total = float((centred**2).sum())
    between = sum(
        float((labels == label).sum() * (centred[labels == label].mean(axis=0) ** 2).sum())
        for label in np.unique(labels)
    )
    return between / total if total else math.nan


def plane(points: np.ndarray) -> tuple[np.ndarray, float]:
    """`points` (n, k) on their first two principal components, float (n, 2), and the share of the variance seen there.

    The sign of a component is free: its largest loading is made positive, so that a picture does not depend on the library.
    """
    points = np.asarray(points, dtype=np.float64)
    centred = points - points.mean(axis=0)
    if centred.shape[1] == 1:
        centred = np.pad(centred, ((0, 0), (0, 1)))
    scatter, size = centred.T @ centred, centred.shape[1]
    variances, directions = eigh(scatter, subset_by_index=(size - 2, size - 1))
    axes = directions[:, ::-1]
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), [0, 1]] < 0, -1, 1)
    total = float(np.trace(scatter))
    return centred @ axes, float(variances.sum()) / total if total > 0 else math.nan
