"""McNemar's test, checked against a textbook and by hand."""

import numpy as np
import pytest
from scipy import stats

from pipeline.statistics.consistency import on_images


@pytest.mark.parametrize(
    ("both", "then", "now", "neither", "p"),
    [
        # Agresti 1990, Categorical Data Analysis, table 10.1: z² = 17.36 and p < 0.0001; in R, `binom.test`.
        (794, 150, 86, 570, stats.binomtest(86, 236).pvalue),
        # By hand: 1 + 15 + 105 + 455 of the 2¹⁵ outcomes are at least as uneven on one side.
        (100, 3, 12, 5, 2 * 576 / 2**15),
        (100, 0, 0, 5, 1.0),
    ],
)
def test_images_that_one_alone_gets_right(both: int, then: int, now: int, neither: int, p: float) -> None:
    right = np.array([[1, 1]] * both + [[1, 0]] * then + [[0, 1]] * now + [[0, 0]] * neither)
    labels = np.arange(len(right)) % 2
    found = on_images(labels, *np.where(right == 1, labels[:, None], 1 - labels[:, None]).T)
    assert (found.only_then, found.only_now, found.p) == (then, now, pytest.approx(p))
    assert found.consistent == (p >= 0.001)
