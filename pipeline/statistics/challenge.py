"""Whether a challenger is better than the champion, beyond what differs from seed to seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

ALPHA = 0.05
FEWEST = 3
"""Seeds without which a spread is not known."""


@dataclass(frozen=True)
class Challenge:
    difference: float
    """Mean of the challenger minus that of the champion."""
    p: float

    @property
    def won(self) -> bool:
        return self.p < ALPHA


def challenge(challenger: Mapping[int, float], champion: Mapping[int, float]) -> Challenge:
    """A one-sided t test of figures by seed: paired where three or more seeds are the same, else Welch's."""
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
