"""The metrics of contrasts: the question that each answers, its unit and its format."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from pipeline.cli.formatting import number


class Question(StrEnum):
    ACCURACY = "accuracy"
    """Who is more accurate on the test set?"""
    GAP = "gap"
    """Whose gap between training and held-out samples is larger at the end of training?"""
    FIT = "fit"
    """Who does worse on held-out samples at the same training loss?"""
    EXCESS = "excess"
    """Whose held-out loss has risen more since its minimum: who was trained too long?"""


@dataclass(frozen=True)
class Metric:
    """The name and unit of a metric; `scale` converts a value to the unit."""

    name: str
    question: Question
    scale: float
    unit: str
    digits: int

    def size(self, value: float) -> str:
        """Return `0.16 points`; `unknown` for a missing value."""
        if not math.isfinite(value):
            return "unknown"
        return f"{number(self.scale * value, self.digits)} {self.unit}"

    def declared(self, value: float) -> str:
        """Return `0.1 points`: a margin as declared in conf/comparison.yaml."""
        return f"{self.scale * value:g} {self.unit}"


METRICS = {
    "test_accuracy": Metric("test accuracy", Question.ACCURACY, 100, "points", 2),
    "gap_accuracy": Metric("accuracy gap", Question.GAP, 100, "points", 2),
    "gap_loss": Metric("loss gap", Question.GAP, 1, "nats", 4),
    "fit_loss": Metric("held-out loss at equal training loss", Question.FIT, 1, "nats", 4),
    "fit_accuracy": Metric("held-out accuracy at equal training loss", Question.FIT, 100, "points", 2),
    "excess_loss": Metric("excess of held-out loss over its minimum", Question.EXCESS, 1, "nats", 4),
}
"""By column of a run's row; `fit_…` are of pairs of runs and have no column."""

FIT = {"fit_loss": "loss", "fit_accuracy": "accuracy"}
"""The held-out value behind each metric at equal training loss."""
