"""The figures that contrasts are about: their units, and how a size in them is written."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.cli.formatting import number


@dataclass(frozen=True)
class Figure:
    """How a figure is called and written: `scale` takes it to its `unit`."""

    name: str
    scale: float
    unit: str
    digits: int

    def size(self, value: float, *, signed: bool = False) -> str:
        """`0.16 points`, `+0.0121 nats`; `unknown` for what is missing."""
        if not math.isfinite(value):
            return "unknown"
        return f"{number(self.scale * value, self.digits, signed=signed)} {self.unit}"

    def declared(self, value: float) -> str:
        """`0.1 points`: a size of conf/comparison.yaml, as it was declared."""
        return f"{self.scale * value:g} {self.unit}"


FIGURES = {
    "test_accuracy": Figure("test accuracy", 100, "points", 2),
    "gap_accuracy": Figure("accuracy gap", 100, "points", 2),
    "gap_loss": Figure("loss gap", 1, "nats", 4),
}
"""By their column in a run's row."""

GAPS = ("gap_accuracy", "gap_loss")
OVERFITTING = "gap_accuracy"
"""The gap that answers who overfits more; the other one is further evidence."""
