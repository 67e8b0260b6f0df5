"""Default and tuned learning rates side by side: two tables, a page to read and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console

from pipeline.cli.formatting import layers, listed, number, p_value, plural, ranged, span
from pipeline.config.run_config import RunConfig
from pipeline.report import figures, style, tables, terminal
from pipeline.report.figures import stretch
from pipeline.statistics import declaration, tuning
from pipeline.statistics.declaration import Declaration
from pipeline.statistics.tuning import DEFAULT, TUNED, Tuning
from pipeline.storage.find import KEYS, beginning

SHORT = ["optimizer", "default → tuned rate", "default: test %", "tuned: test %", "tuned − default, points"]
SHORT += ["default: gap", "tuned: gap"]

RATE = figures.Axis("learning rate", np.log10, tuple(10.0**power for power in range(-8, 3)))


def write(tunings: Sequence[Tuning], out: Path) -> list[str]:
    """Write tuned.csv, tuned_rates.csv, tuned.md and tuned.png; returns what a person reads at the terminal."""
    declared = declaration.load()
    table, tried = tuning.side_by_side(tunings, declared), tuning.rates(tunings)
    job = tunings[0].default[0].job
    out.mkdir(parents=True, exist_ok=True)
    runs = [" ".join(beginning(run.key) for run in (*found.default, *found.tuned)) for found in tunings]
    table = table.assign(dataset=job.dataset.name, hidden=job.shape, epochs=job.training.epochs, **{KEYS: runs})
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
    ends = span(low, high, 1)
    return number(mean, signed=signed) + (f" ({ends})" if ends else "")


def page(table: pd.DataFrame, tried: pd.DataFrame, job: RunConfig, declared: Declaration) -> str:
    """What was done by which rule, what came of it, and every rate that was tried."""
    seeds, rates = sorted(set(tried["seed"])), sorted(set(table["rates"]))
    few = " So few seeds carry no claim." if int(table["default_n"].max()) < declared.seeds_to_explore else ""
    done = (
        f"{layers(job.shape).capitalize()}, {plural(job.training.epochs, 'epoch')}, on {job.dataset.name}. Each optimizer had the "
        f"same budget, {listed(rates, 'or')} rates with {plural(len(seeds), 'seed')} ({ranged(seeds)}): the rate of the "
        "highest mean validation accuracy is the tuned one. The figures below are of other seeds, so that luck in choosing is no "
        f"gain. Test samples took no part in the choice.{few}"
    )
    over = (
        "95 % intervals over seeds in brackets; differences are paired by seed. The verdict is on the test accuracy "
        f"(paired t, Holm over {plural(len(table), 'optimizer')}). A smaller gap may only mean that a network has not "
        "fitted as far."
    )
    tried_of = {str(name): own for name, own in tried.groupby("optimizer")}
    text = [
        "# Learning rates: default and tuned",
        done,
        "![Validation accuracy by learning rate](tuned.png)",
        "\n".join(tables.markdown_table([SHORT, *brief(table)])),
        over,
        "\n".join(f"- {_of(row, tried_of[row['optimizer']])}" for _, row in table.iterrows()),
    ]
    return "\n\n".join(text) + "\n"


def _of(row: pd.Series, tried: pd.DataFrame) -> str:
    """The verdict on one optimizer, and what was tried of it."""
    means = tried.groupby("learning_rate")["val_accuracy"].mean()
    shown = ", ".join(f"{rate:g}: {number(100 * mean)} %" for rate, mean in means.items())
    found = [
        f"{row['optimizer']}: {row['verdict']} (Holm {p_value(row['holm'])}). Validation accuracy by rate: {shown}."
    ]
    if row["beyond"]:
        found.append(f"{plural(int(row['beyond']), 'rate')} beyond the edge that the best lay at.")
    if row["diverged"]:
        found.append(f"{plural(int(row['diverged']), 'run')} of {row['runs']} diverged and counted 0.")
    if row["at_edge"]:
        found.append("**The best still lies at the edge: a better rate may lie beyond it.**")
    return " ".join(found)


def curves(tried: pd.DataFrame) -> Figure:
    """A panel per optimizer: validation accuracy against the learning rate, the default and the chosen rate marked."""
    names = list(dict.fromkeys(tried["optimizer"]))
    looks = style.look(sorted(names))
    means = stretch(tried.groupby(["optimizer", "learning_rate"])["val_accuracy"].mean().to_numpy(float))
    room = 0.08 * float(np.ptp(means)) + 0.02
    ends = float(means.min()) - room, float(means.max()) + 2 * room
    panels = {
        name: partial(_curve, tried=tried[tried["optimizer"].eq(name)], colour=looks[name]["color"], ends=ends)
        for name in names
    }
    return figures.sheet(panels, beside=0.1)


def _curve(axes: list[Axes], tried: pd.DataFrame, colour: str, ends: figures.Ends) -> None:
    """Line: mean over seeds; small dots: seeds; circle: the default; diamond: the rate chosen."""
    [ax] = axes
    means = tried.groupby("decade").agg({"learning_rate": "first", "val_accuracy": "mean", "default": "first"})
    x, y = np.log10(means["learning_rate"]), stretch(means["val_accuracy"].to_numpy(float))
    seeds = np.log10(tried["learning_rate"]), stretch(tried["val_accuracy"].to_numpy(float))
    default = means["default"].to_numpy(bool)
    chosen = means.index == tried.loc[tried["chosen"], "decade"].iloc[0]
    ax.plot(x, y, color=colour, linewidth=1.6)
    ax.plot(*seeds, "o", color=colour, alpha=0.45, markersize=3.2)
    ax.plot(x[chosen], y[chosen], "D", color=colour, markersize=6.5)
    ax.plot(x[default], y[default], "o", color=colour, markerfacecolor="none", markersize=11, markeredgewidth=1.4)
    sides = x.min() - 0.25, x.max() + 0.25
    ax.set(xlim=sides, ylim=ends)
    figures.set_ticks(ax, RATE, "x", sides, 0.17)
    figures.set_ticks(ax, replace(figures.ACCURACY, label="validation accuracy, %"), "y", ends, 0.11)
