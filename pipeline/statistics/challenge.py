"""Whether a challenger is better than the champion, beyond what differs from seed to seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
    if len(common) >= FEWEST:
        pairs = np.array([(challenger[seed], champion[seed]) for seed in common]).T
        differences = pairs[0] - pairs[1]
        mean = float(differences.mean())
        if np.ptp(differences) <= NO_SCATTER:
            return Challenge(mean, 0.0 if mean > NO_SCATTER else 1.0)
        return Challenge(mean, float(stats.ttest_rel(*pairs, alternative="greater").pvalue))
    ours, theirs = (np.array([*figures.values()]) for figures in (challenger, champion))
    p = float(stats.ttest_ind(ours, theirs, equal_var=False, alternative="greater").pvalue)
    return Challenge(float(ours.mean() - theirs.mean()), p)
