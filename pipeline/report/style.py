"""How figures look, on paper and on the page: one palette, and matplotlib's SVG made part of a page with a dark mode.

Okabe and Ito's colours, which colour-blind readers tell apart; each optimizer has its own marker too. A figure is drawn
in the colours of the light page; inlined, every colour becomes a variable of the style sheet. Shades are made with
opacity, over whatever lies behind.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED, RULE, PAPER = "#1b2127", "#5b6670", "#d5dbe1", "#fefefe"
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, YELLOW = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#b8a500",
)
"""Okabe and Ito's, but for the yellow, which is darkened until it can be seen on white."""

VARIABLES = {
    INK: "--ink", MUTED: "--muted", RULE: "--rule", PAPER: "--paper", BLUE: "--blue", VERMILLION: "--vermillion",
    GREEN: "--green", PURPLE: "--purple", ORANGE: "--orange", SKY: "--sky", YELLOW: "--yellow",
}  # fmt: skip

TRAIN, HELD = BLUE, VERMILLION
SERIES = [BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, INK, YELLOW]
MARKERS = ["o", "s", "D", "^", "v", "P", "X", "*"]
DASHES: list[Any] = ["-", (0, (4, 1.5)), (0, (1, 1))]

RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.minor.visible": False,
    "ytick.minor.visible": False,
    "figure.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "path.simplify": True,
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


def axes(
    width: float, height: float, left: float = 0.6, right: float = 0.15, top: float = 0.3, bottom: float = 0.5
) -> tuple[Figure, Axes]:
    """A figure with one pair of axes; sizes and margins in inches. (Automatic layouts draw everything twice.)"""
    figure = Figure(figsize=(width, height))
    return figure, figure.add_axes(
        (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    )


def inches(labels: Sequence[str]) -> float:
    """About how wide the longest label is."""
    return 0.088 * max(map(len, labels))


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


_FONT = re.compile(r"font-family: [^;\"]+;? ?")
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_HEAD = re.compile(r"<svg[^>]*viewBox=\"(?P<box>[^\"]+)\"[^>]*>", re.DOTALL)
_COLOUR = re.compile("|".join(VARIABLES))
_COORDINATE = re.compile(r"(\d+\.\d{2})\d+")


def svg(figure: Figure, name: str, alternative: str) -> str:
    """The figure as an element of a page: scales with its column, follows light and dark, uses the page's fonts."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = _METADATA.sub("", buffer.getvalue())
    text = text[text.index("<svg") :]
    box = _HEAD.match(text)
    if box is None:  # pragma: no cover - a matplotlib that writes another head
        raise RuntimeError("matplotlib wrote an SVG without a viewBox")
    head = f'<svg class="figure" role="img" aria-label="{html.escape(alternative)}" viewBox="{box["box"]}" xmlns:xlink="http://www.w3.org/1999/xlink">'
    text = head + text[box.end() :]
    text = _FONT.sub("", text)
    text = _COLOUR.sub(lambda m: f"var({VARIABLES[m[0]]})", text)
    text = _COORDINATE.sub(r"\1", text)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    used = set(re.findall(r"(?:href=\"#|url\(#)([^\")]+)", text))
    text = re.sub(r" id=\"([^\"]+)\"", lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r"(href=\"#|url\(#)", rf"\g<1>{name}-", text)
    return re.sub(r"\s*\n\s*", "\n", text).strip()
