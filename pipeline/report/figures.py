"""What is drawn. Each function draws one figure from a summary's rows, and does no statistics of its own."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pipeline.cli import formatting
from pipeline.report import style
from pipeline.report.evidence import BOOK_ACCURACY, BOOK_BAND
from pipeline.report.prose import opening
from pipeline.report.style import HELD, INK, MUTED, TRAIN

SMALL = 8
FAINTEST, FULLEST = 0.06, 0.62
"""Opacity of a cell's colour. A fuller one would leave too little contrast for the number in it, by day or by night."""


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
    """Test accuracy with its interval, and the training accuracy that it falls short of: the gap is the distance."""
    # A mixed store takes many hyper-parameters to tell one from another: the table behind the figure has them whole.
    names = [textwrap.shorten(opening.configuration(row), 36, placeholder=" …") for _, row in rows.iterrows()]
    left = style.inches(names) + 0.15
    figure, ax = style.axes(5.3, 0.9 + 0.36 * len(rows), left=left, right=0.6, top=0.45, bottom=0.45)
    edge = 5.3 - left - 0.6  # inches that the axes are wide
    for place, (_, row) in enumerate(rows.iterrows()):
        test, train = 100 * row["test_accuracy_mean"], 100 * row["train_accuracy_mean"]
        ax.plot([test, train], [place, place], color=HELD, alpha=0.25, linewidth=8, solid_capstyle="butt")
        if pd.notna(row["test_accuracy_low"]):
            ends = [100 * row["test_accuracy_low"], 100 * row["test_accuracy_high"]]
            ax.plot(ends, [place, place], color=HELD, linewidth=1.5)
        ax.plot(train, place, "D", color=TRAIN, markersize=6)
        ax.plot(test, place, "o", color=HELD, markersize=7)
        gap = formatting.number(100 * row["gap_accuracy_mean"])
        ax.text(1 + 0.5 / edge, place, gap, va="center", ha="right", transform=ax.get_yaxis_transform(), weight="bold")
        ax.text(-0.1 / edge, place, names[place], va="center", ha="right", transform=ax.get_yaxis_transform())
    ax.set(ylim=(len(rows) - 0.5, -0.5), yticks=[], xlabel="accuracy, % of the images")
    above = 1 + 0.1 / len(rows)
    for at, label, colour, marker in ((0.05, "test", HELD, "o"), (0.65, "training", TRAIN, "D")):
        ax.plot(at / edge, above, marker, color=colour, markersize=6, transform=ax.transAxes, clip_on=False)
        ax.text((at + 0.1) / edge, above, label, color=colour, weight="bold", va="center", transform=ax.transAxes)
    ax.annotate(
        "gap,\npoints",
        (1 + 0.5 / edge, 1),
        (0, 4),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        color=MUTED,
    )
    ax.grid(axis="y", visible=False)
    ax.spines["left"].set_visible(False)
    return figure


def against_width(
    cells: pd.DataFrame, figure: str, label: str, looks: dict[str, dict[str, Any]], scale: float = 1
) -> Figure:
    """One line per optimizer over the width, with intervals; the points of one width stand side by side."""
    names = [name for name in looks if name in set(cells["optimizer"])]
    drawing, ax = style.axes(5.3, 3.9, left=0.75, right=0.4 + style.inches(names), top=0.2, bottom=0.48)
    widths = sorted(int(width) for width in cells["width"].unique())
    ends = {}
    for place, name in enumerate(names):
        rows = cells[cells["optimizer"].eq(name)].sort_values("width")
        dodge = 2 ** (0.07 * (place - (len(names) - 1) / 2))
        x, y = rows["width"].to_numpy(float) * dodge, scale * rows[f"{figure}_mean"].to_numpy(float)
        low, high = (scale * rows[f"{figure}_{end}"].to_numpy(float) for end in ("low", "high"))
        ax.vlines(x, low, high, color=looks[name]["color"], linewidth=1.1, alpha=0.55)
        ax.plot(x, y, **looks[name], linewidth=1.6, markersize=5.2)
        ends[name] = (x[-1], y[-1])
    ax.set_xscale("log", base=2)
    ax.set(xlabel="width, units in each hidden layer", ylabel=label, xticks=widths)
    sparse = len(widths) > 8  # then every other width is named, from the widest
    ax.set_xticklabels(["" if sparse and (len(widths) - 1 - i) % 2 else str(width) for i, width in enumerate(widths)])
    ax.minorticks_off()
    ax.set_xlim(widths[0] / 1.35, widths[-1] * 1.35)
    ax.axhline(0, color=MUTED, linewidth=0.8)
    # One interval of two seeds may be ten times as long as all the others: it runs out of the frame.
    means = scale * cells[f"{figure}_mean"]
    room = 0.7 * float(np.ptp(means)) or 1.0
    bottom, top = ax.get_ylim()
    ax.set_ylim(max(bottom, means.min() - room), min(top, means.max() + room))
    _labels(ax, ends, looks)
    return drawing


def by_depth(cells: pd.DataFrame, sides: Sequence[str], labels: Sequence[str]) -> Figure:
    """A row of panels per optimizer, a column per figure of `sides`, over the width: a line per depth, its interval a band."""
    names, depths = sorted(set(cells["optimizer"])), sorted(int(depth) for depth in cells["depth"].unique())
    widths = sorted(int(width) for width in cells["width"].unique())
    looks = style.look([str(depth) for depth in depths])
    height, top, bottom, wide = 1.75, 0.3, 0.5, 1.8
    size = 5.5, height * len(names) + top + bottom
    drawing = Figure(figsize=size)
    _depths(drawing, looks)
    limits = {side: _limits(SIDES[side](cells[f"{side}_mean"].to_numpy(float))) for side in sides}
    for down, name in enumerate(names):
        for across, (side, label) in enumerate(zip(sides, labels, strict=True)):
            left, low = 0.78 + 2.7 * across, bottom + height * (len(names) - 1 - down) + 0.08
            ax = drawing.add_axes((left / size[0], low / size[1], wide / size[0], (height - 0.4) / size[1]))
            for depth in depths:
                rows = cells[cells["optimizer"].eq(name) & cells["depth"].eq(depth)].sort_values("width")
                look, x = looks[str(depth)], np.log2(rows["width"].to_numpy(float))
                mean, floor, ceiling = (
                    SIDES[side](rows[f"{side}_{part}"].to_numpy(float)) for part in ("mean", "low", "high")
                )
                ax.fill_between(x, floor, ceiling, color=look["color"], alpha=0.16, linewidth=0)
                ax.plot(x, mean, **look, linewidth=1.5, markersize=3.6)
            _dress(ax, side, limits[side], widths)
            ax.set_ylabel(label, labelpad=2)
            if across == 0:
                ax.set_title(name, loc="left", fontsize=10.5, weight="bold", pad=5)
            if down == len(names) - 1:
                ax.set_xlabel("width, units in each layer")
            else:
                ax.set_xticklabels([])
    return drawing


def _depths(drawing: Figure, looks: dict[str, dict[str, Any]]) -> None:
    """Which look is which depth, above the panels."""
    ax = drawing.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    wide, high = drawing.get_size_inches()
    ax.set(xlim=(0, wide), ylim=(0, high))
    ax.text(0.12, high - 0.16, "hidden layers:", color=MUTED, va="center")
    for place, (depth, look) in enumerate(looks.items()):
        at = 1.2 + 0.62 * place
        ax.plot([at, at + 0.26], [high - 0.16] * 2, **look, markersize=4.5, linewidth=1.5)
        ax.text(at + 0.33, high - 0.16, depth, va="center")


def _limits(means: np.ndarray) -> tuple[float, float]:
    """Room for the means of all panels of a column; the longest bands are cut."""
    room = 0.12 * float(np.ptp(means)) + 1e-6
    return float(means.min()) - room, float(means.max()) + room


def _dress(ax: Axes, side: str, limits: tuple[float, float], widths: Sequence[int]) -> None:
    ax.set(ylim=limits, xlim=(np.log2(widths[0]) - 0.4, np.log2(widths[-1]) + 0.4))
    step = math.ceil(len(widths) / 5)  # widths are named from the widest
    named = [width for place, width in enumerate(reversed(widths)) if place % step == 0]
    ax.set(xticks=[float(np.log2(width)) for width in named], xticklabels=named)
    kind = side.partition("_")[2]
    if side.startswith("gap"):
        ax.axhline(0, color=MUTED, linewidth=0.8)
    else:
        ticks = [tick for tick in TICKS[kind] if limits[0] <= SIDES[side](tick) <= limits[1]]
        labels = [f"{100 * tick if kind == 'accuracy' else tick:g}" for tick in ticks]
        ax.set(yticks=[float(SIDES[side](tick)) for tick in ticks], yticklabels=labels)


def _labels(ax: Axes, ends: dict[str, tuple[float, float]], looks: dict[str, dict[str, Any]]) -> None:
    """Each line's name at its right end, on a thin leader where names had to make room for each other."""
    low, high = ax.get_ylim()
    height = ax.get_window_extent().height * 72 / ax.figure.dpi
    places = spread([(y - low) / (high - low) for _, y in ends.values()], 13 / height)
    for (name, (x, y)), place in zip(ends.items(), places, strict=True):
        ax.annotate(
            name, (x, y), (1.07, place), textcoords="axes fraction", va="center", fontsize=10,
            arrowprops={"arrowstyle": "-", "color": looks[name]["color"], "linewidth": 0.8, "shrinkA": 1, "shrinkB": 4},
        )  # fmt: skip
        ax.plot(
            1.045,
            place,
            transform=ax.transAxes,
            clip_on=False,
            color=looks[name]["color"],
            marker=looks[name]["marker"],
            markersize=5.2,
        )


def cell_font(order: Sequence[str], widths: int) -> float:
    """Points of the numbers in a heat map: as large as its columns allow."""
    return min(9.5, 21 * (5.1 - style.inches(order)) / widths)


def halves_fit(order: Sequence[str], widths: int) -> bool:
    """Whether half the interval's length can still be read below each number of a heat map."""
    return cell_font(order, widths) > 9


def heat_map(
    cells: pd.DataFrame, order: Sequence[str], figure: str, colour: str, shade: Callable[[float], float]
) -> Figure:
    """Optimizers down, widths across, the percentage in each cell, half the interval's length below it."""
    widths = sorted(int(width) for width in cells["width"].unique())
    values = {(row["optimizer"], int(row["width"])): row for _, row in cells.iterrows()}
    shades = {place: shade(row[f"{figure}_mean"]) for place, row in values.items()}
    least, most = min(shades.values()), max(shades.values())
    left = 0.15 + style.inches(order)
    drawing, ax = style.axes(5.3, 0.62 + 0.5 * len(order), left=left, right=0.05, top=0.05, bottom=0.48)
    font, halves = cell_font(order, len(widths)), halves_fit(order, len(widths))
    middle: dict[str, Any] = {"ha": "center", "va": "center"}
    for down, name in enumerate(order):
        for across, width in enumerate(widths):
            row = values.get((name, width))
            if row is None:
                ax.text(across, down, "–", color=MUTED, **middle)
                continue
            fullness = (shades[name, width] - least) / ((most - least) or 1)
            ax.add_patch(_cell(across, down, colour, fullness))
            interval = (
                half_interval(row[f"{figure}_mean"], row[f"{figure}_low"], row[f"{figure}_high"]) if halves else ""
            )
            lift = 0.13 if interval else 0
            ax.text(across, down - lift, formatting.number(100 * row[f"{figure}_mean"]), fontsize=font, **middle)
            if lift:
                ax.text(across, down + 0.23, interval, fontsize=SMALL - 0.5, **middle)
    ax.set(xlim=(-0.5, len(widths) - 0.5), ylim=(len(order) - 0.5, -0.5), xlabel="width, units in each hidden layer")
    ax.set(xticks=range(len(widths)), xticklabels=widths, yticks=range(len(order)), yticklabels=order)
    _bare(ax)
    ax.tick_params(axis="y", labelcolor=INK)
    return drawing


def half_interval(mean: float, low: float, high: float) -> str:
    """`± 0.31`, in points; the one end that was not cut where the other is the largest or smallest possible value."""
    if math.isnan(low):
        return ""
    below, above = mean - low, high - mean
    if math.isclose(below, above, abs_tol=1e-9):
        return f"± {formatting.number(100 * below)}"
    if high == 1 and low in (-1, 0):
        return formatting.span(low, high, digits=0)
    return f"≥ {formatting.number(100 * low)}" if below > above else f"≤ {formatting.number(100 * high)}"


def _cell(across: int, down: int, colour: str, fullness: float) -> Rectangle:
    face = (colour, FAINTEST + (FULLEST - FAINTEST) * fullness)
    return Rectangle((across - 0.48, down - 0.46), 0.96, 0.92, facecolor=face, edgecolor="none")


def _bare(ax: Axes) -> None:
    ax.grid(visible=False)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def stretch(accuracy: Any) -> Any:
    """Accuracy on an axis where halving the errors is the same distance everywhere; 100 % lies at a finite place."""
    return -np.log10(1.0005 - np.clip(accuracy, 0, 1))


def log(loss: Any) -> Any:
    return np.log10(np.maximum(loss, 1e-6))


# Scaled by hand: matplotlib's own logarithmic axes take twice the time of all the rest of a panel.
SCALES: dict[str, Callable[[Any], Any]] = {"loss": log, "accuracy": stretch}
TICKS = {
    "loss": (0.0001, 0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
    "accuracy": (0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999),
}


SIDES: dict[str, Callable[[Any], Any]] = {
    "gap_accuracy": lambda gap: 100 * gap,
    "gap_loss": lambda gap: gap,
    "test_accuracy": stretch,
    "test_loss": log,
}
"""How the figures of a comparison by depth are drawn: gaps as they are, in points and nats."""


class CurveLimits:
    """Common limits of all learning-curve panels, so that they can be compared by eye."""

    def __init__(self, bands: pd.DataFrame) -> None:
        self.epochs = int(bands["epoch"].max())
        self.of: dict[str, tuple[float, float]] = {}
        for figure, scale in SCALES.items():
            means = scale(bands[f"{figure}_mean"].to_numpy(float))
            room = 0.1 * float(np.ptp(means)) + 0.02
            self.of[figure] = (float(means.min()) - room, float(means.max()) + room)


def learning_curves(bands: pd.DataFrame, title: str, limits: CurveLimits) -> Figure:
    """One configuration: loss above accuracy, training against held-out, means over seeds with their intervals."""
    return learning_curve_sheet({title: bands}, limits)


def learning_curve_sheet(panels: dict[str, pd.DataFrame], limits: CurveLimits, columns: int = 3) -> Figure:
    """All panels on one sheet, for places that take a single picture."""
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(3.7 * columns, 3.9 * rows))
    for place, (title, bands) in enumerate(panels.items()):
        left, bottom = place % columns / columns, 1 - (place // columns + 1) / rows
        boxes = [(left + 0.2 / columns, bottom + y / rows, 0.61 / columns, 0.37 / rows) for y in (0.555, 0.115)]
        loss, accuracy = (figure.add_axes(box) for box in boxes)
        _curves(loss, bands, "loss", limits)
        _curves(accuracy, bands, "accuracy", limits)
        loss.set(ylabel="loss, nats", xticklabels=[])
        accuracy.set(ylabel="accuracy, %", xlabel="epoch")
        loss.set_title(title, loc="left", fontsize=10.5, weight="bold", pad=6)
    return figure


def _curves(ax: Axes, bands: pd.DataFrame, figure: str, limits: CurveLimits) -> None:
    scale, (bottom, top) = SCALES[figure], limits.of[figure]
    heights = []
    for split, colour, dashes in (("train", TRAIN, "-"), (_held(bands), HELD, (0, (5, 1.4)))):
        rows = bands[bands["split"].eq(split)].sort_values("epoch")
        epochs = rows["epoch"].to_numpy(float)
        mean, low, high = (scale(rows[f"{figure}_{part}"].to_numpy(float)) for part in ("mean", "low", "high"))
        ax.fill_between(epochs, low, high, color=colour, alpha=0.18, linewidth=0)
        marker = "o" if limits.epochs == 1 else None
        ax.plot(epochs, mean, color=colour, linewidth=1.8, linestyle=dashes, marker=marker)
        heights.append((mean[-1] - bottom) / (top - bottom))
    for name, colour, height in zip(("training", "held-out"), (TRAIN, HELD), spread(heights, 0.13), strict=True):
        ax.text(1.03, height, name, transform=ax.transAxes, va="center", color=colour, fontsize=SMALL + 0.5)
    steps = range(1, limits.epochs + 1, max(1, math.ceil(limits.epochs / 6)))
    ticks = [tick for tick in TICKS[figure] if bottom <= scale(tick) <= top]
    labels = [f"{100 * tick if figure == 'accuracy' else tick:g}" for tick in ticks]
    ax.set(xlim=(0.9, limits.epochs + 0.1), xticks=list(steps), ylim=(bottom, top))
    ax.set(yticks=scale(np.array(ticks)), yticklabels=labels)
    ax.yaxis.labelpad = 2


def _held(bands: pd.DataFrame) -> str:
    """The held-out split of these curves: the validation samples, or the test samples where there are none."""
    return "val" if bands["split"].eq("val").any() else "test"


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
    _bare(ax)
    return figure


def baseline(accuracies: Sequence[float], interval: dict[str, float]) -> Figure:
    """Each seed of the book's network, their mean, what the book prints and the band that a seed should lie in."""
    figure, ax = style.axes(5.3, 1.75, left=0.12, right=0.12, top=0.42, bottom=0.45)
    ax.axvspan(100 * BOOK_BAND[0], 100 * BOOK_BAND[1], color=TRAIN, alpha=0.1, linewidth=0)
    ax.plot([100 * BOOK_ACCURACY] * 2, [-1, 1], color=INK, linewidth=1.4, linestyle=(0, (4, 2)))
    ax.annotate("the book: 97.8 %", (100 * BOOK_ACCURACY, 1), (0, 4), textcoords="offset points", ha="center")
    ax.annotate("expected band", (100 * BOOK_BAND[0], 1), (0, 4), textcoords="offset points", color=MUTED)
    ax.plot(100 * np.asarray(accuracies), [0.4] * len(accuracies), "o", color=HELD, alpha=0.75, markersize=6)
    if not math.isnan(interval["low"]):
        ax.plot([100 * interval["low"], 100 * interval["high"]], [-0.4, -0.4], color=HELD, linewidth=1.6)
    ax.plot(100 * interval["mean"], -0.4, "D", color=HELD, markersize=7)
    low = min(
        100 * BOOK_BAND[0], 100 * min(accuracies), *([] if math.isnan(interval["low"]) else [100 * interval["low"]])
    )
    high = max(
        100 * BOOK_BAND[1], 100 * max(accuracies), *([] if math.isnan(interval["high"]) else [100 * interval["high"]])
    )
    right = interval["mean"] if math.isnan(interval["high"]) else interval["high"]
    ends = low - 0.12, high + 0.12
    for end, height, label in ((max(accuracies), 0.4, "one dot a seed"), (right, -0.4, "their mean")):
        ax.annotate(
            label,
            (100 * end, height),
            (9, 0),
            textcoords="offset points",
            va="center",
            color=MUTED,
            fontsize=SMALL,
        )
        # To the right of what it names, and the axis goes on until it has room there.
        room = (9 / 72 + style.inches([label])) / (5.3 - 2 * 0.12)
        ends = ends[0], max(ends[1], (100 * end - room * ends[0]) / (1 - room))
    ax.set(ylim=(-1, 1), xlim=ends, yticks=[], xlabel="test accuracy, %")
    ax.spines["left"].set_visible(False)
    ax.grid(axis="y", visible=False)
    return figure


def digit_sheet(images: Sequence[np.ndarray], captions: Sequence[str], columns: int = 8) -> Figure:
    """Pictures in rows with a line below each, for places that take a single picture."""
    rows = math.ceil(len(images) / columns)
    figure = Figure(figsize=(1.1 * columns, 1.45 * rows))
    for place, (image, caption) in enumerate(zip(images, captions, strict=True)):
        ax = figure.add_axes(
            (place % columns / columns + 0.01, 1 - (place // columns + 0.76) / rows, 0.98 / columns, 0.72 / rows)
        )
        ax.imshow(image, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        ax.set_axis_off()
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
