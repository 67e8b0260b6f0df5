"""How figures look: one palette, and how matplotlib writes them.

Okabe and Ito's colours, which colour-blind readers tell apart; each optimizer has its own marker too.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.figure import Figure

INK, MUTED, RULE = "#1b2127", "#5b6670", "#d5dbe1"
TRAIN, HELD = "#0072b2", "#d55e00"
SERIES = [TRAIN, HELD, "#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK, "#b8a500"]
MARKERS = ["o", "s", "D", "^", "v", "P", "X", "*"]
DASHES: list[Any] = ["-", (0, (4, 1.5)), (0, (1, 1))]

RC: dict[str, Any] = {
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
}


@contextmanager
def styled() -> Iterator[None]:
    with matplotlib.rc_context(RC):  # type: ignore[arg-type]  # its keys are typed as literals
        yield


def look(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and dashes of each series; the same name looks the same in all figures of a page."""
    return {
        name: {"color": SERIES[i % 8], "marker": MARKERS[i % 8], "linestyle": DASHES[i // 8 % 3]}
        for i, name in enumerate(names)
    }


def inches(labels: Sequence[str]) -> float:
    """About how wide the longest label is."""
    return 0.088 * max(map(len, labels))


def png(figure: Figure) -> bytes:
    return _saved(figure, format="png", dpi=150, metadata={"Software": None})


def svg(figure: Figure) -> bytes:
    return _saved(figure, format="svg", metadata={"Date": None})


def _saved(figure: Figure, **options: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, facecolor="white", **options)
    return buffer.getvalue()
