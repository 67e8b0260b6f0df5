"""The metrics that contrasts are about: the question each answers, its unit, and how a size in it is written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from pipeline.cli.formatting import number


class Question(StrEnum):
    ACCURACY = "accuracy"
    """Who is more accurate on the test file?"""
    GAP = "gap"
    """Whose gap between training and held-out samples is larger at the end of training?"""
    FIT = "fit"
    """Who does worse on held-out samples at the same training loss?"""
    EXCESS = "excess"
    """Whose held-out loss has risen more since its minimum: who was trained too long?"""


@dataclass(frozen=True)
class Metric:
    """How a metric is called and written: `scale` takes it to its `unit`."""

    name: str
    question: Question
    scale: float
    unit: str
    digits: int

    def size(self, value: float) -> str:
        """`0.16 points`; `unknown` for what is missing."""
        if not math.isfinite(value):
            return "unknown"
        return f"{number(self.scale * value, self.digits)} {self.unit}"

    def declared(self, value: float) -> str:
        """`0.1 points`: a size of conf/comparison.yaml, as it was declared."""
        return f"{self.scale * value:g} {self.unit}"


METRICS = {
    "test_accuracy": Metric("test accuracy", Question.ACCURACY, 100, "points", 2),
    "gap_accuracy": Metric("accuracy gap", Question.GAP, 100, "points", 2),
    "gap_loss": Metric("loss gap", Question.GAP, 1, "nats", 4),
    "fit_loss": Metric("held-out loss at equal training loss", Question.FIT, 1, "nats", 4),
    "fit_accuracy": Metric("held-out accuracy at equal training loss", Question.FIT, 100, "points", 2),
    "excess_loss": Metric("excess of held-out loss over its minimum", Question.EXCESS, 1, "nats", 4),
}
"""By their column in a run's row; `fit_…` are of a pair of runs and in no run's row."""

FIT = {"fit_loss": "loss", "fit_accuracy": "accuracy"}
"""What of the held-out samples the metrics at equal training loss are."""
