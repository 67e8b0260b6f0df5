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

from pipeline.cli import formatting
from pipeline.report.style import HELD, INK, MUTED, TRAIN, inches


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
    """The only point to be marked; None for all."""


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


LOSS = Axis("loss, nats", log, LOSS_TICKS)
ACCURACY = Axis("accuracy, %", stretch, ACCURACY_TICKS, 100)
GAP_LOSS = Axis("gap, nats")
GAP_ACCURACY = Axis("gap, points", lambda gap: 100 * np.asarray(gap))
TRAINING_LOSS = Axis("training loss, nats", log, LOSS_TICKS, falling=True)
EPOCH = Axis("epoch")


def limits(axis: Axis, panels: Iterable[Sequence[Line]], room: float = 0.1) -> Ends:
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
    band: bool = True,
    span: Ends | None = None,
) -> None:
    """Lines with their intervals as bands, or as bars that stand side by side at each x."""
    if span:
        ax.set_xlim(span)
    for place, line in enumerate(lines):
        look = looks[line.name]
        dodge = 0 if band else 0.07 * (place - (len(lines) - 1) / 2)
        at, mean = x.scale(line.x) + dodge, y.scale(line.mean)
        low, high = y.scale(line.low), y.scale(line.high)
        if band:
            ax.fill_between(at, low, high, color=look["color"], alpha=0.15, linewidth=0)
        else:
            ax.vlines(at, low, high, color=look["color"], alpha=0.55)
        marked = None if line.mark is None else [line.mark]
        ax.plot(at, mean, **look, linewidth=1.6, markersize=5, markevery=marked, label=line.name)
    set_ticks(ax, x, "x", sorted(ax.get_xlim()), 0.17)
    ax.set_ylim(ends)
    set_ticks(ax, y, "y", ends, 0.11)
    if x.falling:
        ax.invert_xaxis()


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
        labels = [f"{axis.factor * tick:g}" for tick in shown]
        getattr(ax, f"set_{which}ticks")([float(axis.scale(tick)) for tick in shown], labels)


WIDEST_TITLE, LONGEST_TITLE = 32, 48
"""Letters of a panel's title in full size, and at all: a longer one is written smaller, then cut between words."""


def sheet(panels: Mapping[str, Callable[[list[Axes]], None]], rows: int = 1, beside: float = 0.8) -> Figure:
    """A panel for each title: `rows` pairs of axes, one above the other, handed to the function that draws them.

    `beside`: inches for the legend.
    """
    columns = min(3, len(panels))
    lines = math.ceil(len(panels) / columns)
    width, height = 3.9, 0.85 + 1.6 * rows
    figure = Figure(figsize=(width * columns, height * lines))
    parts = figure.subfigures(lines, columns, squeeze=False).flat
    figure.subplots_adjust(0.78 / width, 0.5 / height, 1 - beside / width, 1 - 0.3 / height, hspace=0.1)
    for part, (title, draw) in zip(parts, panels.items(), strict=False):
        axes = part.subplots(rows, squeeze=False).ravel().tolist()
        draw(axes)
        for ax in axes[:-1]:
            ax.set(xlabel="", xticklabels=[])
        short = textwrap.shorten(title, LONGEST_TITLE, placeholder=" …")
        size = min(10.5, 10.5 * WIDEST_TITLE / max(len(short), 1))
        axes[0].set_title(short, loc="left", fontsize=size, weight="bold", pad=6)
        if len(axes[0].get_legend_handles_labels()[0]):
            axes[0].legend(loc="upper left", bbox_to_anchor=(1, 1), borderaxespad=0, fontsize=8.5)
    return figure


def dumbbells(rows: pd.DataFrame) -> Figure:
    """Training and held-out accuracy, whose distance is the gap, and test accuracy as a ring beside them.

    Columns: `label`; `train_accuracy_mean`; `held_out_mean`, `_low`, `_high`; `test_accuracy_mean`; `gap_accuracy_mean`.
    """
    # A mixed store takes many hyper-parameters to tell one from another: the table behind the figure has them whole.
    gaps = [formatting.number(100 * gap) for gap in rows["gap_accuracy_mean"]]
    names = [
        f"{textwrap.shorten(label, 36, placeholder=' …')}: {gap}"
        for label, gap in zip(rows["label"], gaps, strict=True)
    ]
    width, height = 5.3 + inches(names), 0.9 + 0.36 * len(rows)
    figure, places = Figure(figsize=(width, height)), range(len(rows))
    ax = figure.add_axes((inches(names) / width, 0.45 / height, 5.1 / width, (height - 0.9) / height))
    test, held, train = (100 * rows[f"{name}_mean"] for name in ("test_accuracy", "held_out", "train_accuracy"))
    ax.hlines(places, held, train, color=HELD, alpha=0.25, linewidth=8)
    ax.hlines(places, 100 * rows["held_out_low"], 100 * rows["held_out_high"], color=HELD)
    ax.plot(train, places, "D", color=TRAIN, label="training")
    ax.plot(held, places, "o", color=HELD, label="held out")
    ax.plot(test, places, "o", markerfacecolor="none", color=INK, markersize=8, label="test")
    ax.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)
    ax.set(ylim=(len(rows) - 0.5, -0.5), xlabel="accuracy, % of the samples")
    ax.set_yticks(places, names)
    ax.grid(axis="y", visible=False)
    return figure


def confusion(counts: np.ndarray) -> Figure:
    """Rows: the class of a sample; columns: what the network says. Only errors are coloured."""
    errors = counts - np.diag(np.diag(counts))
    size = range(len(counts))
    figure = Figure(figsize=(5.3, 5.1))
    ax = figure.add_axes((0.12, 0.1, 0.84, 0.86))
    ax.imshow(np.ma.masked_equal(errors, 0), cmap="Oranges", vmin=0, vmax=2 * max(int(errors.max()), 1), aspect="auto")
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = MUTED if row == column else INK
        ax.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour)
    ax.set(xticks=size, yticks=size, xlabel="what the network says", ylabel="its class")
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    return figure


@dataclass(frozen=True)
class Hard:
    """A test image that the network finds hard."""

    image: np.ndarray
    actual: int
    predicted: int
    certainty: float
    """What the network gives the class that it says."""


def digit_sheet(digits: Sequence[Hard], columns: int = 8) -> Figure:
    """Pictures in rows with a line below each."""
    rows = math.ceil(len(digits) / columns)
    figure = Figure(figsize=(1.1 * columns, 1.45 * rows))
    for place, digit in enumerate(digits):
        ax = figure.add_subplot(rows, columns, place + 1)
        ax.imshow(digit.image, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        ax.set_axis_off()
        caption = f"{digit.actual} → {digit.predicted}, {100 * digit.certainty:.0f} %"
        ax.set_title(caption, y=-0.25, fontsize=8)
    figure.subplots_adjust(0.01, 0.1, 0.99, 0.99, 0.05, 0.3)
    return figure
