"""Default and tuned learning rates side by side: two tables, a page to read and a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console

from pipeline.cli import formatting
from pipeline.cli.formatting import layers, listed, number, p_value, plural
from pipeline.config.run_config import RunConfig
from pipeline.report import style, tables, terminal
from pipeline.report.figures import TICKS, stretch
from pipeline.report.style import MUTED
from pipeline.statistics import declaration, tuning
from pipeline.statistics.declaration import Declaration
from pipeline.statistics.summary import shape
from pipeline.statistics.tuning import DEFAULT, TUNED, Tuning
from pipeline.storage.find import KEYS, beginning

COLUMNS = 3
HEAD = ["optimizer", "learning rate", "seeds", "validation %", "test %", "gap, points"]
SHORT = ["optimizer", "default → tuned rate", "default: test %", "tuned: test %", "tuned − default, points"]
SHORT += ["default: gap", "tuned: gap"]


def write(tunings: Sequence[Tuning], out: Path) -> list[str]:
    """Write tuned.csv, tuned_rates.csv, tuned.md and tuned.png; returns what a person reads at the terminal."""
    declared = declaration.load()
    table, tried = tuning.side_by_side(tunings, declared), tuning.rates(tunings)
    job = tunings[0].default[0].job
    out.mkdir(parents=True, exist_ok=True)
    runs = [" ".join(beginning(run.key) for run in (*found.default, *found.tuned)) for found in tunings]
    table = table.assign(dataset=job.dataset.name, hidden=shape(job), epochs=job.training.epochs, **{KEYS: runs})
    (out / "tuned.csv").write_bytes(tables.csv(table))
    (out / "tuned_rates.csv").write_bytes(tables.csv(tried))
    (out / "tuned.md").write_text(page(table, tried, job, declared), encoding="utf-8")
    with style.styled():
        (out / "tuned.png").write_bytes(style.png(curves(tried)))
    return [*at_terminal(table, terminal.standard_output()), f"the report is {out / 'tuned.md'}"]


def at_terminal(table: pd.DataFrame, console: Console) -> list[str]:
    """The lines of `brief` as a table that fits `console`; the gaps are left out first."""
    rows = [dict(zip(SHORT, row, strict=True)) for row in brief(table)]
    shown = terminal.table(dict(zip(SHORT, SHORT, strict=True)), rows, console, dict.fromkeys(SHORT, 12), SHORT[:4:-1])
    return terminal.lines(shown, console)


def short(table: pd.DataFrame) -> list[str]:
    """The lines of a Markdown table: see `brief`."""
    return tables.markdown_table([SHORT, *brief(table)])


def brief(table: pd.DataFrame) -> list[list[str]]:
    """A row per optimizer, for the columns SHORT: rates, test accuracy of both, what tuning changed, and both gaps."""
    return [
        [
            str(row["optimizer"]),
            f"{row['default_rate']:g} → {row['tuned_rate']:g}",
            _spread(row, f"{DEFAULT}_test_accuracy"),
            _spread(row, f"{TUNED}_test_accuracy"),
            _spread(row, "difference_test_accuracy", signed=True),
            _spread(row, f"{DEFAULT}_gap_accuracy"),
            _spread(row, f"{TUNED}_gap_accuracy"),
        ]
        for _, row in table.iterrows()
    ]


def _spread(row: pd.Series, figure: str, *, signed: bool = False) -> str:
    """`97.79 (97.60 to 97.97)`; of no difference at all, since the rate is the default, a dash."""
    mean, low, high = (100 * float(row[f"{figure}_{part}"]) for part in ("mean", "low", "high"))
    if signed and row["default_rate"] == row["tuned_rate"]:
        return "–"
    spread = "" if math.isnan(low) else f" ({formatting.span(low, high, 1)})"
    return (number(mean, signed=signed) if not math.isnan(mean) else "–") + spread


def page(table: pd.DataFrame, tried: pd.DataFrame, job: RunConfig, declared: Declaration) -> str:
    """What was done by which rule, what came of it, and every rate that was tried."""
    seeds, final = sorted(set(tried["seed"])), int(table["default_n"].max())
    text = [
        "# Learning rates: default and tuned",
        "",
        f"{layers(shape(job)).capitalize()}, {plural(job.training.epochs, 'epoch')}, on {job.dataset.name}. "
        f"{_budget(table)} with {plural(len(seeds), 'seed')} ({formatting.ranged(seeds)}): the rate of the highest mean "
        "validation accuracy is the tuned one. The figures below are of other seeds, so that luck in choosing is no gain. "
        "Test images took no part in the choice."
        + (" So few seeds carry no claim." if final < declared.seeds_to_explore else ""),
        "",
        "![Validation accuracy by learning rate](tuned.png)",
        "",
        *tables.markdown_table([HEAD, *(line for _, row in table.iterrows() for line in _lines(row))]),
        "",
        (
            "95 % intervals over seeds in brackets; differences are paired by seed. The verdict is on the test accuracy, by "
            f"what conf/comparison.yaml declares ({declared.claim_test}, Holm over {plural(len(table), 'optimizer')}). "
            "A smaller gap may only mean that a network has not fitted as far."
        ),
        "",
        "## What was tried",
        "",
        *(f"- {_told(row, tried[tried['optimizer'].eq(row['optimizer'])])}" for _, row in table.iterrows()),
    ]
    return "\n".join(text) + "\n"


def _budget(table: pd.DataFrame) -> str:
    rates = sorted(set(table["rates"]))
    if len(rates) == 1:
        return f"Each optimizer had the same budget, {rates[0]} rates"
    fewer = table.loc[table["rates"].lt(rates[-1]), "optimizer"]
    return (
        f"Each optimizer had the same budget, {rates[-1]} rates ({listed(list(fewer))} came to the end of the rates "
        "that are allowed before it was spent)"
    )


def _lines(row: pd.Series) -> list[list[str]]:
    """Default, tuned and their difference; one line where the default was chosen."""
    same = row["default_rate"] == row["tuned_rate"]
    lines = []
    for which, rate in ((DEFAULT, "default_rate"), (TUNED, "tuned_rate")):
        word = "default, and chosen" if same else which
        figures = [_spread(row, f"{which}_{figure}") for figure in tuning.COMPARED]
        lines.append([row["optimizer"], f"{row[rate]:g} ({word})", str(row[f"{which}_n"]), *figures])
    if same:
        return lines[:1]
    difference = [_spread(row, f"difference_{figure}", signed=True) for figure in tuning.COMPARED]
    difference[1] += f": {row['verdict']}, Holm {p_value(row['holm'])}"
    return [*lines, [row["optimizer"], "tuned − default", str(row["pairs"]), *difference]]


def _told(row: pd.Series, tried: pd.DataFrame) -> str:
    means = tried.groupby("learning_rate")["val_accuracy"].mean()
    shown = ", ".join(f"{rate:g}: {number(100 * mean)} %" for rate, mean in means.items())
    said = [f"{row['optimizer']}: {shown}."]
    if row["beyond"]:
        said.append(f"{plural(int(row['beyond']), 'rate')} beyond the edge that the best lay at.")
    if row["diverged"]:
        said.append(f"{plural(int(row['diverged']), 'run')} of {row['runs']} diverged and counted 0.")
    if row["at_edge"]:
        said.append("**The best still lies at the edge: a better rate may lie beyond it.**")
    return " ".join(said)


def curves(tried: pd.DataFrame) -> Figure:
    """A panel per optimizer: validation accuracy against the learning rate, the default and the chosen rate marked."""
    names = list(dict.fromkeys(tried["optimizer"]))
    looks = style.look(sorted(names))
    columns = min(COLUMNS, len(names))
    rows = math.ceil(len(names) / columns)
    width, height = 2.7, 2.35
    figure = Figure(figsize=(width * columns + 0.35, height * rows + 0.35))
    means = stretch(tried.groupby(["optimizer", "learning_rate"])["val_accuracy"].mean().to_numpy(float))
    room = 0.08 * float(np.ptp(means)) + 0.02
    limits = float(means.min()) - room, float(means.max()) + 2 * room
    size = figure.get_size_inches()
    for place, name in enumerate(names):
        left, bottom = 0.75 + width * (place % columns), height * (rows - 1 - place // columns) + 0.8
        box = (left / size[0], bottom / size[1], (width - 0.65) / size[0], (height - 0.8) / size[1])
        ax = figure.add_axes(box)
        _curve(ax, tried[tried["optimizer"].eq(name)], looks[name]["color"], limits)
        ax.set_title(name, loc="left", fontsize=10.5, weight="bold", pad=6)
        if place % columns == 0:
            ax.set_ylabel("validation accuracy, %")
        if place + columns >= len(names):
            ax.set_xlabel("learning rate")
    told = "line: mean over seeds; dots: seeds; circle: the default; diamond: the rate chosen"
    figure.text(0.12 / size[0], 0.08 / size[1], told, color=MUTED, fontsize=8.5)
    return figure


def _curve(ax: Axes, tried: pd.DataFrame, colour: str, limits: tuple[float, float]) -> None:
    # Scaled by hand, as the other figures are.
    means = tried.groupby("decade").agg({"learning_rate": "first", "val_accuracy": "mean", "default": "first"})
    x, y = np.log10(means["learning_rate"]), stretch(means["val_accuracy"].to_numpy(float))
    ax.plot(x, y, color=colour, linewidth=1.6)
    seeds = np.log10(tried["learning_rate"]), stretch(tried["val_accuracy"].to_numpy(float))
    ax.plot(*seeds, "o", color=colour, alpha=0.45, markersize=3.2)
    default = means["default"].to_numpy(bool)
    chosen = means.index == tried.loc[tried["chosen"], "decade"].iloc[0]
    ax.plot(x[chosen], y[chosen], "D", color=colour, markersize=6.5)
    ax.plot(
        x[default], y[default], "o", markerfacecolor="none", markeredgecolor=colour, markersize=11, markeredgewidth=1.4
    )
    exponents = range(math.floor(x.min()), math.ceil(x.max()) + 1)
    ax.set(xlim=(x.min() - 0.25, x.max() + 0.25), ylim=limits)
    shown = [exponent for exponent in exponents if x.min() - 0.25 <= exponent <= x.max() + 0.25]
    ax.set(xticks=shown, xticklabels=[f"{10.0**exponent:g}" for exponent in shown])
    ticks = [tick for tick in TICKS["accuracy"] if limits[0] <= stretch(tick) <= limits[1]]
    ax.set(yticks=[float(stretch(tick)) for tick in ticks], yticklabels=[f"{100 * tick:g}" for tick in ticks])
