"""Numbers, lists and times as text. Imports nothing heavy: every command may use it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence

NOTHING = "–"
"""Shown in place of a missing number."""


def number(value: float, digits: int = 2, *, signed: bool = False) -> str:
    """`0.98`, `−0.05`, `+0.12`; no negative zero, and a dash for a missing or infinite value."""
    if value is None or not math.isfinite(value):
        return NOTHING
    sign = "+" if signed else ""
    # To nine digits first: the same mean, computed in two ways, must not end on both sides of a half.
    return f"{round(round(value, 9), digits) + 0.0:{sign}.{digits}f}".replace("-", "−")


def percent(share: float, digits: int = 2) -> str:
    """`97.91 %` for 0.9791."""
    written = number(100 * share, digits)
    return written if written == NOTHING else f"{written} %"


def points(share: float) -> str:
    """`1.26 points` for a difference of 0.0126 between two accuracies."""
    return f"{number(100 * share)} points"


def span(low: float, high: float, scale: float = 100, digits: int = 2) -> str:
    """`97.13 to 97.83`; empty without an interval."""
    return "" if math.isnan(low) else f"{number(scale * low, digits)} to {number(scale * high, digits)}"


def spread(mean: float, low: float, high: float, *, scale: float = 100, digits: int = 2, signed: bool = False) -> str:
    """`97.79 (97.60 to 97.97)`; the mean alone without an interval."""
    ends = span(low, high, scale, digits)
    return number(scale * mean, digits, signed=signed) + (f" ({ends})" if ends else "")


def p_value(p: float) -> str:
    """`p = 0.012`, `p < 0.001`; never zero, which no test with finitely many seeds can show."""
    if not math.isfinite(p):
        return "p unknown"
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def duration(seconds: float) -> str:
    """`42 s`, `3:07 min`, `1:20 h`."""
    seconds = round(seconds)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds // 60:.0f}:{seconds % 60:02.0f} min"
    return f"{seconds // 3600:.0f}:{seconds % 3600 // 60:02.0f} h"


def plural(count: int, word: str, plural_word: str = "") -> str:
    """`1 seed`, `2,000 seeds`."""
    return f"{count:,} {word if count == 1 else plural_word or word + 's'}"


def listed(items: Sequence[object], last: str = "and") -> str:
    """`a, b and c`; `a, 1; b, 2; and c, 3` if items have commas."""
    texts = [str(item) for item in items]
    if len(texts) < 2:
        return "".join(texts)
    within = any(", " in text for text in texts)
    comma, before_last = ("; ", "; ") if within and len(texts) > 2 else (", ", " ")
    return f"{comma.join(texts[:-1])}{before_last}{last} {texts[-1]}"


def ranged(values: Sequence[int]) -> str:
    """`0 to 9` for consecutive values, else `1, 4 and 7`."""
    values = sorted(set(values))
    if len(values) > 2 and values == list(range(values[0], values[-1] + 1)):
        return f"{values[0]} to {values[-1]}"
    return listed(values)


def layers(hidden: str) -> str:
    """`width 512`, `width 512, 2 layers`, `widths 512, 256`, `no hidden layer`; `residual, width 128`, `logistic`."""
    if hidden == "none":
        return "no hidden layer"
    network, _, units = hidden.rpartition("-")
    widths = units.split("x")
    if not all(map(str.isdigit, widths)):
        return hidden
    if network:
        return f"{network}, {layers(units)}"
    if len(set(widths)) > 1:
        return f"widths {', '.join(widths)}"
    return f"width {widths[0]}" + (f", {len(widths)} layers" if len(widths) > 1 else "")


def nearest(name: str, names: Iterable[str]) -> str:
    """` (did you mean 'adam'?)`; empty if no name is close."""
    by_lower = {candidate.lower(): candidate for candidate in names}
    typed = str(name).lower()
    close = difflib.get_close_matches(typed, list(by_lower), cutoff=0.5)
    # difflib ranks adamax above adam for `adma`; transposed letters are the most common typo.
    close.sort(key=lambda candidate: sorted(candidate) != sorted(typed))
    return f" (did you mean {by_lower[close[0]]!r}?)" if close else ""
