"""Default and tuned learning rates side by side, as a Markdown page."""

from __future__ import annotations

import pandas as pd

from pipeline.cli.formatting import NOTHING, number, p_value, plural, ranged, spread
from pipeline.report.tables import markdown_table
from pipeline.statistics.tuning import DEFAULT, TUNED


def brief(table: pd.DataFrame) -> pd.DataFrame:
    """A row of texts per optimizer: rates, test accuracy of both, what tuning changed, and both gaps."""
    spreads = {
        "default: test %": f"{DEFAULT}_test_accuracy",
        "tuned: test %": f"{TUNED}_test_accuracy",
        "tuned − default, points": "difference_test_accuracy",
        "default: gap": f"{DEFAULT}_gap_accuracy",
        "tuned: gap": f"{TUNED}_gap_accuracy",
    }
    rows = []
    for _, row in table.iterrows():
        cells = {
            "optimizer": row["optimizer"],
            "default → tuned rate": f"{row['default_rate']:g} → {row['tuned_rate']:g}",
        }
        for heading, metric in spreads.items():
            ends = (row[f"{metric}_{part}"] for part in ("mean", "low", "high"))
            cells[heading] = spread(*ends, signed=metric.startswith("difference"))
        if row["default_rate"] == row["tuned_rate"]:
            cells["tuned − default, points"] = NOTHING
        rows.append(cells)
    return pd.DataFrame(rows)


def page(table: pd.DataFrame, tried: pd.DataFrame) -> str:
    """The Markdown page: results, and every rate that was tried."""
    short = brief(table)
    seeds = ranged(sorted(set(tried["seed"])))
    how = (
        f"The tuned rate has the highest mean validation accuracy over seeds {seeds}. The results below come from other seeds, so "
        "that luck in choosing is no gain, with 95 % intervals over these seeds in brackets; differences are paired by seed. The "
        "verdict is on the test accuracy (paired t test, Holm’s correction over the optimizers). A smaller gap may only mean that "
        "a network has fitted less."
    )
    text = [
        "# Learning rates: default and tuned",
        how,
        "![Validation accuracy by learning rate](tuned.png)",
        "\n".join(markdown_table([list(short), *short.to_numpy()])),
        "\n".join(f"- {_of(row, tried[tried['optimizer'].eq(row['optimizer'])])}" for _, row in table.iterrows()),
    ]
    return "\n\n".join(text) + "\n"


def _of(row: pd.Series, tried: pd.DataFrame) -> str:
    """The verdict on one optimizer, and the rates that were tried."""
    means = tried.groupby("learning_rate")["val_accuracy"].mean()
    shown = ", ".join(f"{rate:g}: {number(100 * mean)} %" for rate, mean in means.items())
    found = [
        f"{row['optimizer']}: {row['verdict']} (Holm {p_value(row['holm'])}). Validation accuracy by rate: {shown}."
    ]
    if row["beyond"]:
        found.append(f"The range was extended by {plural(int(row['beyond']), 'rate')}, since the best lay at its edge.")
    if row["diverged"]:
        found.append(f"{plural(int(row['diverged']), 'run')} of {row['runs']} diverged and counted as 0.")
    if row["at_edge"]:
        found.append("**The best rate still lies at an edge: a better one may lie beyond it.**")
    return " ".join(found)
