"""What is drawn. Each function draws one figure from a summary's rows, and does no statistics of its own."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pipeline.cli import formatting
from pipeline.report import style
from pipeline.report.evidence import BOOK_ACCURACY, BOOK_BAND
from pipeline.report.pictures import Hard
from pipeline.report.style import HELD, INK, MUTED, TRAIN

SMALL = 8
FAINTEST, FULLEST = 0.06, 0.62
"""Opacity of a cell of the confusion matrix. A fuller one would leave too little contrast for the number in it."""


def spread(places: Sequence[float], distance: float) -> list[float]:
    """Places between 0 and 1, moved as little as it takes to lie at least `distance` from one another: where labels go."""
    order = np.argsort(places, kind="stable")
    heaps: list[tuple[float, int]] = []  # centre and size of each heap of labels
    for place in np.asarray(places, dtype=float)[order]:
        heaps.append((place, 1))
        while len(heaps) > 1 and heaps[-1][0] - heaps[-2][0] < distance * (heaps[-1][1] + heaps[-2][1]) / 2:
            (b, m), (a, n) = heaps.pop(), heaps.pop()
            heaps.append(((a * n + b * m) / (n + m), n + m))
    moved = [centre + distance * (i - (size - 1) / 2) for centre, size in heaps for i in range(size)]
    for i in reversed(range(len(moved))):  # nothing above the frame, nor what has to make room for that
        moved[i] = min(moved[i], 1 - distance * (len(moved) - 1 - i))
    result = np.empty(len(moved))
    result[order] = moved
    return [float(value) for value in result]


def dumbbells(rows: pd.DataFrame) -> Figure:
    """Training and held-out accuracy, whose distance is the gap, and test accuracy as a ring beside them.

    Columns: `label`; `train_accuracy_mean`; `held_out_mean`, `_low`, `_high`; `test_accuracy_mean`; `gap_accuracy_mean`.
    """
    # A mixed store takes many hyper-parameters to tell one from another: the table behind the figure has them whole.
    names = [textwrap.shorten(label, 36, placeholder=" …") for label in rows["label"]]
    left = style.inches(names) + 0.15
    figure, ax = style.axes(5.3, 0.9 + 0.36 * len(rows), left=left, right=0.6, top=0.45, bottom=0.45)
    edge = 5.3 - left - 0.6  # inches that the axes are wide
    for place, (_, row) in enumerate(rows.iterrows()):
        test, held, train = (100 * row[f"{name}_mean"] for name in ("test_accuracy", "held_out", "train_accuracy"))
        ax.plot([held, train], [place, place], color=HELD, alpha=0.25, linewidth=8, solid_capstyle="butt")
        ax.plot([100 * row["held_out_low"], 100 * row["held_out_high"]], [place, place], color=HELD, linewidth=1.5)
        ax.plot(train, place, "D", color=TRAIN, markersize=6)
        ax.plot(held, place, "o", color=HELD, markersize=7)
        ax.plot(test, place, "o", markerfacecolor="none", markeredgecolor=INK, markersize=8)
        gap = formatting.number(100 * row["gap_accuracy_mean"])
        beside: dict[str, Any] = {"va": "center", "ha": "right", "transform": ax.get_yaxis_transform()}
        ax.text(1 + 0.5 / edge, place, gap, weight="bold", **beside)
        ax.text(-0.1 / edge, place, names[place], **beside)
    ax.set(ylim=(len(rows) - 0.5, -0.5), yticks=[], xlabel="accuracy, % of the images")
    size = figure.get_size_inches()
    legend = (("training", TRAIN, "D", TRAIN), ("held out", HELD, "o", HELD), ("test", INK, "o", "none"))
    for at, (label, colour, marker, face) in zip((0.2, 1.2, 2.2), legend, strict=True):
        shape: dict[str, Any] = {"color": colour, "markerfacecolor": face, "markersize": 6, "clip_on": False}
        ax.plot(at / size[0], 1 - 0.15 / size[1], marker, transform=figure.transFigure, **shape)
        figure.text((at + 0.1) / size[0], 1 - 0.15 / size[1], label, color=colour, weight="bold", va="center")
    place_of: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "right"}
    ax.annotate("gap,\npoints", (1 + 0.5 / edge, 1), (0, 4), color=MUTED, **place_of)
    ax.grid(axis="y", visible=False)
    ax.spines["left"].set_visible(False)
    return figure


def _labels(ax: Axes, ends: dict[str, tuple[float, float]], looks: Looks, size: float = 8.5) -> None:
    """Each line's name at its right end, on a thin leader where names had to make room for each other."""
    low, high = ax.get_ylim()
    height = ax.get_window_extent().height * 72 / ax.figure.dpi
    places = spread([(y - low) / (high - low) for _, y in ends.values()], 1.3 * size / height)
    for (name, (x, y)), place in zip(ends.items(), places, strict=True):
        colour = looks[name]["color"]
        leader: dict[str, Any] = {
            "arrowstyle": "-",
            "color": colour,
            "linewidth": 0.8,
            "shrinkA": 1,
            "shrinkB": 3,
            "relpos": (0, 0.5),
            "linestyle": (0, (1, 2)),
        }
        style_of: dict[str, Any] = {"textcoords": "axes fraction", "va": "center", "fontsize": size}
        ax.annotate(name, (x, y), (1.09, place), **style_of, arrowprops=leader)
        ax.plot(
            1.055, place, looks[name]["marker"], transform=ax.transAxes, clip_on=False, color=colour, markersize=4.5
        )


def _cell(across: int, down: int, colour: str, fullness: float) -> Rectangle:
    face = (colour, FAINTEST + (FULLEST - FAINTEST) * fullness)
    return Rectangle((across - 0.48, down - 0.46), 0.96, 0.92, facecolor=face, edgecolor="none")


def stretch(accuracy: Any) -> Any:
    """Accuracy on an axis where halving the errors is the same distance everywhere; 100 % lies at a finite place."""
    return -np.log10(1.0005 - np.clip(accuracy, 0, 1))


def log(loss: Any) -> Any:
    return np.log10(np.maximum(loss, 1e-6))


# Scaled by hand: matplotlib's own logarithmic axes take twice the time of all the rest of a panel.
LOSS_TICKS = (0.0001, 0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
ACCURACY_TICKS = (0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
Ends = tuple[float, float]
Looks = Mapping[str, Mapping[str, Any]]
"""Colour, marker and dashes by the name of a line."""


@dataclass(frozen=True)
class Line:
    """One line of a plot with its interval over seeds."""

    name: str
    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mark: int | None = None
    """The point to be marked."""


@dataclass(frozen=True)
class Axis:
    """How numbers are placed on an axis."""

    label: str
    scale: Callable[[Any], Any] = np.asarray
    ticks: tuple[float, ...] = ()
    """Candidates; without any matplotlib chooses."""
    factor: float = 1
    """From a tick to its label."""
    falling: bool = False
    zero: bool = False
    """Whether there is a line at zero."""


LOSS = Axis("loss, nats", log, LOSS_TICKS)
ACCURACY = Axis("accuracy, %", stretch, ACCURACY_TICKS, 100)
GAP_LOSS = Axis("gap, nats", zero=True)
GAP_ACCURACY = Axis("gap, points", lambda gap: 100 * np.asarray(gap), zero=True)
TRAINING_LOSS = Axis("training loss, nats", log, LOSS_TICKS, falling=True)
EPOCH = Axis("epoch")


def limits(axis: Axis, panels: Iterable[Sequence[Line]], room: float = 0.1) -> tuple[float, float]:
    """Ends of the axis that hold the means of all panels: a long interval is cut, so that one seed more does not rule them."""
    means = axis.scale(np.concatenate([line.mean for lines in panels for line in lines]).astype(float))
    space = room * float(np.ptp(means)) or 0.02
    return float(means.min()) - space, float(means.max()) + space


def draw_lines(
    ax: Axes,
    lines: Sequence[Line],
    looks: Looks,
    x: Axis,
    y: Axis,
    ends: Ends,
    *,
    span: Ends | None = None,
    band: bool = True,
) -> None:
    """Lines with their intervals as bands, or as bars that stand side by side at each x; names at the right ends."""
    if y.zero:
        ax.axhline(0, color=MUTED, linewidth=0.8)
    names = {}
    for place, line in enumerate(lines):
        look = looks[line.name]
        dodge = 0 if band else 0.07 * (place - (len(lines) - 1) / 2)
        at, mean = x.scale(line.x) + dodge, y.scale(line.mean)
        low, high = y.scale(line.low), y.scale(line.high)
        if band:
            ax.fill_between(at, low, high, color=look["color"], alpha=0.15, linewidth=0)
        else:
            ax.vlines(at, low, high, color=look["color"], linewidth=1.1, alpha=0.55)
        shape: dict[str, Any] = {} if not band or len(at) == 1 else {"marker": None}
        ax.plot(at, mean, **{**look, **shape}, linewidth=1.6, markersize=5)
        if line.mark is not None:
            ax.plot(at[line.mark], mean[line.mark], marker=look["marker"], color=look["color"], markersize=6)
        names[line.name] = (at[-1], mean[-1])
    if span:
        ax.set_xlim(span)
    set_ticks(ax, x, "x", sorted(ax.get_xlim()), 0.17)
    ax.set_ylim(ends)
    set_ticks(ax, y, "y", ends, 0.11)
    if x.falling:
        ax.invert_xaxis()
    _labels(ax, names, looks)


def set_ticks(ax: Axes, axis: Axis, which: str, ends: Sequence[float], distance: float) -> None:
    """The ticks of an axis that lie within its ends, those left out that would come nearer than that part of its length."""
    getattr(ax, f"set_{which}label")(axis.label)
    if axis.ticks:
        shown: list[float] = []
        for tick in reversed(axis.ticks):
            inside = ends[0] - 1e-9 <= axis.scale(tick) <= ends[1] + 1e-9
            if inside and (
                not shown or abs(axis.scale(tick) - axis.scale(shown[-1])) >= distance * (ends[1] - ends[0])
            ):
                shown.append(tick)
        getattr(ax, f"set_{which}ticks")([float(axis.scale(tick)) for tick in shown])
        getattr(ax, f"set_{which}ticklabels")([f"{axis.factor * tick:g}" for tick in shown])


def sheet(
    panels: Mapping[str, Callable[[list[Axes]], None]], rows: int = 1, wide: float = 3.9, beside: float = 0.8
) -> Figure:
    """A panel for each title: `rows` pairs of axes, one above the other, handed to the function that draws them.

    `wide`: inches of a panel, `beside` those for the names of its lines.
    """
    columns = min(3, len(panels))
    lines = math.ceil(len(panels) / columns)
    width, height = wide, (0.85 + 1.6 * rows) * wide / 3.9
    figure = Figure(figsize=(width * columns, height * lines))
    for place, (title, draw) in enumerate(panels.items()):
        left, bottom = place % columns / columns, 1 - (place // columns + 1) / lines
        below, tall = 0.5 / height, (height - 0.8) / height / rows
        boxes = [
            (
                left + 0.78 / wide / columns,
                bottom + (below + tall * row) / lines,
                (wide - 0.78 - beside) / wide / columns,
                (tall - 0.12 / height) / lines,
            )
            for row in reversed(range(rows))
        ]
        axes = [figure.add_axes(box) for box in boxes]
        draw(axes)
        for ax in axes[:-1]:
            ax.set(xlabel="", xticklabels=[])
        axes[0].set_title(title, loc="left", fontsize=10.5, weight="bold", pad=6)
    return figure


def confusion(counts: np.ndarray, classes: Sequence[str]) -> Figure:
    """Rows: what an image shows; columns: what the network says. Errors stand out, the diagonal steps back."""
    size = len(classes)
    figure, ax = style.axes(5.3, 5.1, left=0.6, right=0.72, top=0.25, bottom=0.48)
    errors = counts - np.diag(np.diag(counts))
    worst = max(int(errors.max()), 1)
    middle: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9}
    for row in range(size):
        for column in range(size):
            count = int(counts[row, column])
            if row == column:
                ax.add_patch(_cell(column, row, TRAIN, 0.08))
                ax.text(column, row, str(count), color=TRAIN, **middle)
            elif count:
                ax.add_patch(_cell(column, row, HELD, count / worst))
                ax.text(column, row, str(count), **middle)
        right = counts[row, row] / max(counts[row].sum(), 1)
        ax.text(size - 0.35, row, f"{100 * right:.1f} %", va="center", color=MUTED, fontsize=9)
    ax.text(size - 0.35, -0.62, "correct", va="bottom", color=MUTED, fontsize=9)
    ax.set(
        xlim=(-0.5, size - 0.5),
        ylim=(size - 0.5, -0.5),
        xticks=range(size),
        yticks=range(size),
        xticklabels=classes,
        yticklabels=classes,
    )
    ax.set(xlabel="what the network says", ylabel="what the image shows")
    ax.grid(visible=False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return figure


def baseline(accuracies: Sequence[float], interval: dict[str, float]) -> Figure:
    """Each seed of the book's network, their mean, what the book prints and the band that a seed should lie in."""
    figure, ax = style.axes(5.3, 1.75, left=0.12, right=1.1, top=0.42, bottom=0.45)
    ax.axvspan(100 * BOOK_BAND[0], 100 * BOOK_BAND[1], color=TRAIN, alpha=0.1, linewidth=0)
    ax.plot([100 * BOOK_ACCURACY] * 2, [-1, 1], color=INK, linewidth=1.4, linestyle=(0, (4, 2)))
    printed = f"the book: {formatting.percent(BOOK_ACCURACY, 1)}"
    ax.annotate(printed, (100 * BOOK_ACCURACY, 1), (0, 4), textcoords="offset points", ha="center")
    ax.annotate("expected band", (100 * BOOK_BAND[0], 1), (0, 4), textcoords="offset points", color=MUTED)
    ax.plot(100 * np.asarray(accuracies), [0.4] * len(accuracies), "o", color=HELD, alpha=0.75, markersize=6)
    ax.plot([100 * interval["low"], 100 * interval["high"]], [-0.4, -0.4], color=HELD, linewidth=1.6)
    ax.plot(100 * interval["mean"], -0.4, "D", color=HELD, markersize=7)
    for height, label in ((0.4, "one dot a seed"), (-0.4, "their mean")):
        ax.text(1.02, (height + 1) / 2, label, va="center", color=MUTED, fontsize=SMALL, transform=ax.transAxes)
    low, high = ax.get_xlim()
    ax.set(ylim=(-1, 1), xlim=(low - 0.05, high + 0.05), yticks=[], xlabel="test accuracy, %")
    ax.spines["left"].set_visible(False)
    ax.grid(axis="y", visible=False)
    return figure


def digit_sheet(digits: Sequence[Hard], columns: int = 8) -> Figure:
    """Pictures in rows with a line below each, for places that take a single picture."""
    rows = math.ceil(len(digits) / columns)
    figure = Figure(figsize=(1.1 * columns, 1.45 * rows))
    for place, digit in enumerate(digits):
        left, bottom = place % columns / columns + 0.01, 1 - (place // columns + 0.76) / rows
        ax = figure.add_axes((left, bottom, 0.98 / columns, 0.72 / rows))
        ax.imshow(digit.image, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        ax.set_axis_off()
        caption = f"{digit.actual} → {digit.predicted}, {100 * digit.certainty:.0f} %"
        ax.text(0.5, -0.08, caption, transform=ax.transAxes, ha="center", va="top", fontsize=8)
    return figure


def against_published(rows: pd.DataFrame) -> Figure:
    """How far ours lie from the published figures: columns `name`, `low`, `high`, `mean`, `mean_low`, `mean_high`.

    All as distances from the published figure, in points; a band without an upper end runs out of the frame.
    """
    names = rows["name"].to_list()
    left = style.inches(names) + 0.15
    figure, ax = style.axes(5.3, 0.7 + 0.34 * len(rows), left=left, right=0.15, top=0.1, bottom=0.48)
    ends = rows[["low", "high", "mean"]].to_numpy(float)
    room = 0.08 * (float(np.nanmax(ends) - np.nanmin(ends)) or 1.0)
    start, end = min(0.0, float(np.nanmin(ends))) - room, max(0.0, float(np.nanmax(ends))) + room
    ax.axvline(0, color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
    for place, (name, row) in enumerate(zip(names, rows.to_dict("records"), strict=True)):
        high = end if math.isnan(row["high"]) else row["high"]
        ax.plot([row["low"], high], [place, place], color=TRAIN, alpha=0.2, linewidth=10, solid_capstyle="butt")
        if not math.isnan(row["mean_low"]):
            ax.plot([row["mean_low"], row["mean_high"]], [place, place], color=HELD, linewidth=1.6)
        ax.plot(row["mean"], place, "D", color=HELD, markersize=6)
        ax.text(-0.02, place, name, va="center", ha="right", transform=ax.get_yaxis_transform())
    ax.set(xlim=(start, end), ylim=(len(rows) - 0.5, -0.5), yticks=[], xlabel="ours minus the published figure, points")
    ax.spines["left"].set_visible(False)
    ax.grid(axis="y", visible=False)
    return figure
