"""Two given networks on the same test images: McNemar's exact test (1947, Psychometrika 12) of the images they differ on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class McNemar:
    """Images by which of two networks classifies them correctly.

    It is about these two sets of weights. Another seed is another network: of configurations it says nothing.
    """

    both: int
    only_first: int
    only_second: int
    neither: int
    p: float
    """Two-sided, exact: of the images that one alone gets right, each is as likely either one's."""

    @property
    def images(self) -> int:
        return self.both + self.only_first + self.only_second + self.neither


def of_predictions(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> McNemar:
    """From the class that each of two networks gives to each image, and the right one; integers (images,).

    Raises ValueError where the lengths differ or are 0.
    """
    from statsmodels.stats.contingency_tables import mcnemar

    if not len(labels) == len(first) == len(second) or len(labels) == 0:
        raise ValueError(f"{len(labels)} labels, {len(first)} and {len(second)} predictions: expected equally many")
    right = [np.asarray(predicted) == np.asarray(labels) for predicted in (first, second)]
    table = np.zeros((2, 2), dtype=int)
    np.add.at(table, ((~right[0]).astype(int), (~right[1]).astype(int)), 1)
    p = float(mcnemar(table, exact=True).pvalue)
    return McNemar(int(table[0, 0]), int(table[0, 1]), int(table[1, 0]), int(table[1, 1]), p)
