"""The tables of the page's statistics: contrasts, levels and intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from pipeline.cli.formatting import NOTHING, number, p_value, plural, span, spread
from pipeline.report.prose import captions, verdicts
from pipeline.statistics.analysis import Analysis
from pipeline.statistics.metrics import FIT, METRICS

LOSS = ["loss_mean", "loss_low", "loss_high"]


@dataclass(frozen=True)
class Table:
    """A table of the page, with its title and lead."""

    id: str
    title: str
    lead: str
    table: pd.DataFrame


def tables(analysis: Analysis) -> list[Table]:
    """The tables that have rows."""
    found = [
        Table("contrasts", "Every contrast", captions.CONTRASTS, contrasts(analysis.contrasts)),
        Table("levels", "Held-out loss at equal training loss", captions.LEVELS, levels(analysis)),
        Table("intervals", "Each configuration", captions.INTERVALS, intervals(analysis)),
    ]
    return [shown for shown in found if len(shown.table)]


def contrasts(rows: pd.DataFrame) -> pd.DataFrame:
    table = pd.DataFrame([_contrast(row) for _, row in rows.iterrows()])
    return table.drop(columns="note") if len(table) and table["note"].eq(NOTHING).all() else table


def _contrast(row: pd.Series) -> dict[str, object]:
    about = METRICS[row["figure"]]
    at = f" of {row['level']:.3f}" if row["figure"] in FIT and row["n"] else ""
    needed = row["more_seeds"]
    unit = "" if about.unit == "nats" and math.isnan(row["margin"]) else f" {about.unit}"  # not of every loss
    return {
        "metric": f"{about.name}{at}",
        "A": row["a"],
        "B": row["b"],
        "seeds": row["n"],
        "A − B": f"{number(about.scale * row['difference'], about.digits)}{unit}" if row["n"] else NOTHING,
        "95 % interval": span(row["low"], row["high"], about.scale, about.digits) or NOTHING,
        "Holm": p_value(row["holm"]),
        "more seeds": "would not decide" if math.isinf(needed) else number(needed, 0),
        "verdict": row["verdict"],
        "note": verdicts.note(row) or NOTHING,
    }


def levels(analysis: Analysis) -> pd.DataFrame:
    """A row per configuration, a column per training loss."""
    cells: dict[str, dict[str, str]] = {}
    for _, row in analysis.levels.iterrows():
        level = f"{row['training_loss']:.3g}{' (lowest common)' if row['lowest_common'] else ''}"
        some = f"; {row['n']} of {plural(row['of'], 'seed')}" if row["n"] < row["of"] else ""
        cell = f"{spread(*row[LOSS], scale=1, digits=3)}{some}" if row["n"] else NOTHING
        label = str(analysis.configurations.at[row["configuration"], "label"])
        cells.setdefault(level, {})[label] = cell
    return pd.DataFrame(cells).fillna(NOTHING).rename_axis("configuration").reset_index()


def intervals(analysis: Analysis) -> pd.DataFrame:
    """A row per configuration: accuracies and gap, each with its interval over seeds and samples."""
    rows = analysis.configurations[analysis.configurations["n"] > 0]
    names = {"validation": "val_accuracy", "test": "test_accuracy", "gap": "gap_accuracy"}
    ends = ("mean", "low_images", "high_images")
    cells = {
        name: [spread(*own) for own in rows[[f"{metric}_{end}" for end in ends]].itertuples(index=False)]
        for name, metric in names.items()
    }
    return pd.DataFrame({"configuration": rows["label"], "seeds": rows["n"], **cells})
