"""McNemar's test against textbooks and the binomial test."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pipeline.statistics import mcnemar


def predictions(both: int, first: int, second: int, neither: int):
    """Labels of two classes, and what two networks say of them."""
    right = np.array([[1, 1]] * both + [[1, 0]] * first + [[0, 1]] * second + [[0, 0]] * neither)
    labels = np.arange(len(right)) % 2
    return labels, np.where(right[:, 0], labels, 1 - labels), np.where(right[:, 1], labels, 1 - labels)


def test_agrestis_approval_ratings():
    """Agresti 1990, Categorical Data Analysis, table 10.1: 794, 150, 86, 570; z² = 17.36 and p < 0.0001; in R, `binom.test`."""
    found = mcnemar.of_predictions(*predictions(794, 150, 86, 570))
    assert found.p == pytest.approx(stats.binomtest(86, 236).pvalue)
    assert found.p == pytest.approx(stats.chi2.sf((150 - 86) ** 2 / 236, 1), rel=0.5)


def test_by_hand():
    """3 against 12: of the 2¹⁵ ways 1 + 15 + 105 + 455 are as uneven on one side."""
    assert mcnemar.of_predictions(*predictions(100, 3, 12, 5)).p == pytest.approx(2 * 576 / 2**15)


def test_as_many_labels_as_predictions_are_asked_for():
    with pytest.raises(ValueError, match="3 labels, 2 and 3 predictions"):
        mcnemar.of_predictions(np.zeros(3), np.zeros(2), np.zeros(3))
