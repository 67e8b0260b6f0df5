"""Seeds as blocks: which runs of two configurations belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.statistics.equal_fit import VALUES, Curve, at_equal_training_loss
from pipeline.training.result import FINISHED


@dataclass(frozen=True)
class Values:
    """One figure of both sides, float (n,): entries at one place are of one seed, seeds ascending."""

    a: np.ndarray
    b: np.ndarray

    def known(self) -> Values:
        """The seeds of which both sides are known."""
        both = np.isfinite(self.a) & np.isfinite(self.b)
        return Values(self.a[both], self.b[both])

    def first(self, seeds: int) -> Values:
        return Values(self.a[:seeds], self.b[:seeds])


@dataclass(frozen=True)
class Pairs:
    """The runs of two configurations, seed by seed.

    Two finished runs are a pair where they share the seed and all else that decided their numbers.
    """

    a: pd.DataFrame
    """A row per pair, seeds ascending; its `key` and figures."""
    b: pd.DataFrame
    only_a: int
    """Seeds that only A has."""
    only_b: int
    unlike: int
    """Seeds that both have, of other data, code or device."""

    def figure(self, name: str) -> Values:
        return Values(self.a[name].to_numpy(float), self.b[name].to_numpy(float))

    def at_equal_training_loss(self, curves: Mapping[str, Curve]) -> tuple[np.ndarray, Values, Values]:
        """That loss of each pair, then held-out loss and accuracy there; NaN where there is none."""
        levels = np.full(len(self.a), np.nan)
        read = np.full((2, len(self.a), len(VALUES)), np.nan)
        for row, (a, b) in enumerate(zip(self.a["key"], self.b["key"], strict=True)):
            if a in curves and b in curves:
                levels[row], read[0, row], read[1, row] = at_equal_training_loss(curves[a], curves[b])
        loss, accuracy = (VALUES.index(name) for name in ("loss", "accuracy"))
        return levels, Values(*read[:, :, loss]), Values(*read[:, :, accuracy])


class Blocks:
    """Finished runs by configuration and seed; as `design.runs_of` gives them, one of each."""

    def __init__(self, runs: pd.DataFrame, figures: Sequence[str]) -> None:
        finished = runs.loc[runs["status"].eq(FINISHED), ["configuration", "seed", "key", "identity", *figures]]
        self._none = finished.iloc[:0].set_index("seed")
        self._runs = {
            str(name): own.set_index("seed").sort_index() for name, own in finished.groupby("configuration", sort=False)
        }

    def pairs(self, a: str, b: str) -> Pairs:
        """Of the configurations with these ids."""
        first, second = self._runs.get(a, self._none), self._runs.get(b, self._none)
        both = first.index.intersection(second.index)
        alike = both[first.loc[both, "identity"].to_numpy() == second.loc[both, "identity"].to_numpy()]
        return Pairs(
            a=first.loc[alike],
            b=second.loc[alike],
            only_a=len(first) - len(both),
            only_b=len(second) - len(both),
            unlike=len(both) - len(alike),
        )
