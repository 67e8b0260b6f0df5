"""Test whether a challenger is better than the champion, beyond the variation between seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

ALPHA = 0.05
FEWEST = 3
"""Fewest seeds from which a spread is estimated."""


@dataclass(frozen=True)
class Challenge:
    difference: float
    """Challenger's mean minus champion's mean."""
    p: float

    @property
    def won(self) -> bool:
        return self.p < ALPHA


def challenge(challenger: Mapping[int, float], champion: Mapping[int, float]) -> Challenge:
    """Run a one-sided t test on a metric by seed: paired if three or more seeds are shared, else Welch's."""
    from scipy import stats

    from pipeline.statistics.paired import NO_SCATTER

    common = sorted({*challenger} & {*champion})
    paired = len(common) >= FEWEST
    sides = [[side[seed] for seed in common] if paired else [*side.values()] for side in (challenger, champion)]
    ours, theirs = (np.array(side) for side in sides)
    difference = float(ours.mean() - theirs.mean())
    if paired and np.ptp(ours - theirs) <= NO_SCATTER:
        return Challenge(difference, 0.0 if difference > NO_SCATTER else 1.0)
    test = stats.ttest_rel if paired else partial(stats.ttest_ind, equal_var=False)
    return Challenge(difference, float(test(ours, theirs, alternative="greater").pvalue))
