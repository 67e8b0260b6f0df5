"""Seeds as blocks: which runs of two configurations belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.statistics.figures import FIGURES, GAPS
from pipeline.statistics.matched import History, at_matched_training_loss
from pipeline.training.result import FINISHED


@dataclass(frozen=True)
class Pairs:
    """The runs of two configurations, seed by seed: entries of A's and B's arrays belong together.

    Two finished runs are a pair where they share the seed and all else that decided their numbers.
    """

    a: Mapping[str, np.ndarray]
    """Figure by name, float (n,)."""
    b: Mapping[str, np.ndarray]
    keys: list[tuple[str, str]]
    only_a: int
    """Seeds that only A has."""
    only_b: int
    unlike: int
    """Seeds that both have, of other data, code or device."""

    @property
    def n(self) -> int:
        return len(self.keys)

    def difference(self, figure: str) -> np.ndarray:
        return self.a[figure] - self.b[figure]

    def gaps_at_matched_loss(self, histories: Mapping[str, History]) -> dict[str, np.ndarray]:
        """Of each pair with a common training loss, `level` and the difference of each gap there; float (at most n,)."""
        known = [(histories[a], histories[b]) for a, b in self.keys if a in histories and b in histories]
        read = [at_matched_training_loss(a, b) for a, b in known]
        common = [pair for pair in read if not np.isnan(pair.training_loss)]
        gaps = {gap: np.array([pair.a[gap] - pair.b[gap] for pair in common], dtype=float) for gap in GAPS}
        return {"level": np.array([pair.training_loss for pair in common], dtype=float), **gaps}


class Blocks:
    """Finished runs by configuration and seed; as `design.runs_of` gives them, one of each."""

    def __init__(self, runs: pd.DataFrame) -> None:
        # A run without one of the figures would make the figure unknown of the whole contrast.
        finished = runs[runs["status"].eq(FINISHED)].dropna(subset=list(FIGURES))
        rows, names = pd.factorize(finished["configuration"])
        columns, seeds = pd.factorize(finished["seed"], sort=True)
        identities, _ = pd.factorize(finished["identity"])
        self._row = {str(name): row for row, name in enumerate(names)}
        shape = (len(names) + 1, len(seeds))  # the last row is that of a configuration of which nothing finished
        self._identity = np.full(shape, -1)
        self._identity[rows, columns] = identities
        self._key = np.full(shape, "", dtype=object)
        self._key[rows, columns] = finished["key"].astype(str)
        self._figure = {figure: np.full(shape, np.nan) for figure in FIGURES}
        for figure, values in self._figure.items():
            values[rows, columns] = finished[figure]

    def pairs(self, a: str, b: str) -> Pairs:
        """Of the configurations with these ids; seeds ascending."""
        first, second = self._row.get(a, -1), self._row.get(b, -1)
        of_a, of_b = self._identity[first], self._identity[second]
        has_a, has_b = of_a >= 0, of_b >= 0
        pair = has_a & has_b & (of_a == of_b)
        return Pairs(
            a={figure: values[first, pair] for figure, values in self._figure.items()},
            b={figure: values[second, pair] for figure, values in self._figure.items()},
            keys=list(zip(self._key[first, pair], self._key[second, pair], strict=True)),
            only_a=int((has_a & ~has_b).sum()),
            only_b=int((has_b & ~has_a).sum()),
            unlike=int((has_a & has_b & ~pair).sum()),
        )
