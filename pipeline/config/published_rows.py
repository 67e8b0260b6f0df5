"""The rows of conf/published.yaml: what sources published, and what says whether ours agrees."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import yaml

from pipeline.config import rules

Bounds = tuple[float, float]
MEASURES: dict[str, tuple[str, int, Bounds]] = {
    "test accuracy": ("%", 2, (0, 100)),
    "training accuracy": ("%", 2, (0, 100)),
    "test error": ("%", 2, (0, 100)),
    "gap": ("points", 2, (-100, 100)),
    "training loss": ("nats", 4, (0, math.inf)),
}
"""Unit, the digits it is written with, and the smallest and largest value it can have. The gap is against the test file."""


@dataclass(frozen=True)
class Row:
    """What a source published, and what says whether ours agrees: the keys of conf/published.yaml."""

    id: str
    source: str
    runs: tuple[str, ...]
    measure: str
    published: float | None = None
    low: float | None = None
    high: float | None = None
    each: bool = False
    over: float | None = None
    lowest: str | None = None
    flat: float | None = None
    peak: tuple[int, int] | None = None

    @property
    def unit(self) -> str:
        return MEASURES[self.measure][0]

    @property
    def digits(self) -> int:
        return MEASURES[self.measure][1]

    @property
    def bounds(self) -> Bounds:
        return MEASURES[self.measure][2]

    @property
    def configurations(self) -> int:
        """How many the words of `runs` mean."""
        return math.prod(len(word.partition("=")[2].split(",")) for word in self.runs)


def rows() -> list[Row]:
    """All of them, in the order of the file."""
    return [Row(**_tuples(row)) for row in yaml.safe_load((rules.CONF / "published.yaml").read_text(encoding="utf-8"))]


def _tuples(row: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
