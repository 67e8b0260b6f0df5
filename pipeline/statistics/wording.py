"""Numbers and configurations in words, as verdicts and answers use them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MINUS = "\u2212"


@dataclass(frozen=True)
class Figure:
    """How a figure is called and written: `scale` takes it to its `unit`."""

    words: str
    scale: float
    unit: str
    digits: int

    def size(self, value: float, *, signed: bool = False) -> str:
        """`0.16 points`, `+0.0121 nats`; `unknown` for what there is not."""
        if not math.isfinite(value):
            return "unknown"
        return f"{number(self.scale * value, self.digits, signed=signed)} {self.unit}"

    def margin(self, value: float) -> str:
        """`± 0.1 points`: a declared size, as it was declared."""
        return f"± {self.scale * value:g} {self.unit}"


FIGURES = {
    "test_accuracy": Figure("test accuracy", 100, "points", 2),
    "gap_accuracy": Figure("accuracy gap", 100, "points", 2),
    "gap_loss": Figure("loss gap", 1, "nats", 4),
}
"""The figures that contrasts are about, by their column in a run's row."""

GAPS = ("gap_accuracy", "gap_loss")
OVERFITTING = "gap_accuracy"
"""The gap that answers who overfits more; the other one is evidence beside it."""


def number(value: float, digits: int = 2, *, signed: bool = False) -> str:
    """`0.98`, `−0.05`; no negative zero."""
    sign = "+" if signed else ""
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}".replace("-", MINUS)


def percent(share: float) -> str:
    """`97.91 %`; `unknown` for what there is not."""
    return f"{number(100 * share)}\u202f%" if math.isfinite(share) else "unknown"


def p_value(p: float) -> str:
    """`p = 0.012`, `p < 0.001`; never zero, since no test with finitely many seeds can say so."""
    if not math.isfinite(p):
        return "p unknown"
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def plural(count: int, word: str, many: str = "") -> str:
    return f"{count:,} {word if count == 1 else many or word + 's'}"


def listed(words: Sequence[object], last: str = "and") -> str:
    """`a, b and c`."""
    texts = [str(word) for word in words]
    return f" {last} ".join([", ".join(texts[:-1]), texts[-1]]) if len(texts) > 1 else "".join(texts)


def layers(hidden: str) -> str:
    """`width 512`, `width 512, 2 layers`, `widths 512, 256`, `no hidden layer`."""
    if hidden == "none":
        return "no hidden layer"
    widths = hidden.split("x")
    if len(set(widths)) > 1:
        return f"widths {', '.join(widths)}"
    return f"width {widths[0]}" + (f", {len(widths)} layers" if len(widths) > 1 else "")
