"""The tables of the statistics, as a person reads them: contrasts, levels and intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.cli.formatting import number, p_value, plural, span
from pipeline.report.prose import verdicts
from pipeline.statistics.analysis import Analysis
from pipeline.statistics.figures import FIGURES, FIT

OVER_SEEDS = "Intervals: 95 %, over seeds, on the samples that there are."
OVER_BOTH = "Intervals: 95 %; over seeds alone, and over seeds and samples, as for a statement about other samples of the same kind."
LEVELS = "In nats, where a curve first falls to that training loss."


@dataclass(frozen=True)
class Table:
    """A table of the page with what is said of it."""

    id: str
    title: str
    lead: str
    table: pd.DataFrame


def tables(analysis: Analysis) -> list[Table]:
    """Every table that there is something to show in."""
    found = [
        *contrasts(analysis),
        Table("levels", "Held-out loss at equal training loss", f"{LEVELS} {OVER_SEEDS}", levels(analysis)),
        Table("intervals", "Each configuration by itself", f"In %, gaps in points. {OVER_BOTH}", intervals(analysis)),
    ]
    return [shown for shown in found if len(shown.table)]


def contrasts(analysis: Analysis) -> list[Table]:
    """One for each figure that there are contrasts of."""
    found = []
    for figure, about in FIGURES.items():
        rows = analysis.contrasts[analysis.contrasts["figure"].eq(figure)]
        counts = ", ".join(f"{count} × {verdict}" for verdict, count in rows["verdict"].value_counts().items())
        title = f"{about.name[0].upper()}{about.name[1:]}: {counts}"
        lead = f"A minus B, paired by seed; p corrected by Holm over the contrasts of one factor. {OVER_SEEDS}"
        table = pd.DataFrame([_contrast(row) for _, row in rows.iterrows()])
        if len(table) and table["note"].eq("–").all():
            table = table.drop(columns="note")
        found.append(Table(f"contrasts_{figure}", title, lead, table))
    return found


def _contrast(row: pd.Series) -> dict[str, Any]:
    about = FIGURES[row["figure"]]
    at = {"at training loss": number(row["level"], 3)} if row["figure"] in FIT else {}
    return {
        "A": row["a"],
        "B": row["b"],
        **at,
        "seeds": int(row["n"]),
        f"A − B, {about.unit}": number(about.scale * row["difference"], about.digits),
        "95 % interval": span(row["low"], row["high"], about.scale, about.digits) or "–",
        "Holm": p_value(row["holm"]),
        "detectable": number(about.scale * row["detectable"], about.digits),
        "more seeds": _seeds(row["more_seeds"]),
        "verdict": row["verdict"],
        "note": verdicts.note(row) or "–",
    }


def _seeds(needed: float) -> str:
    if math.isnan(needed):
        return "–"
    return "would not decide" if math.isinf(needed) else f"{needed:,.0f}"


def levels(analysis: Analysis) -> pd.DataFrame:
    """A row per configuration, a column per training loss."""
    rows: dict[str, dict[str, str]] = {}
    for _, row in analysis.levels.iterrows():
        label = str(analysis.configurations.loc[row["configuration"], "label"])
        name = f"{row['training_loss']:.3g}{' (lowest common)' if row['lowest_common'] else ''}"
        some = f"; {row['n']} of {plural(row['of'], 'seed')}" if row["n"] < row["of"] else ""
        ends = span(row["loss_low"], row["loss_high"], 1, 3)
        cell = f"{number(row['loss_mean'], 3)}{f' ({ends})' if ends else ''}{some}" if row["n"] else "–"
        rows.setdefault(label, {"configuration": label})[name] = cell
    return pd.DataFrame(list(rows.values())).fillna("–")


def intervals(analysis: Analysis) -> pd.DataFrame:
    figures = {"validation": "val_accuracy", "test": "test_accuracy", "gap": "gap_accuracy"}
    found = []
    for _, row in analysis.configurations[analysis.configurations["n"] > 0].iterrows():
        cells = {}
        for name, figure in figures.items():
            cells[name] = number(100 * row[f"{figure}_mean"])
            cells[f"{name}, over seeds"] = span(row[f"{figure}_low"], row[f"{figure}_high"]) or "–"
            cells[f"{name}, over seeds and samples"] = (
                span(row[f"{figure}_low_images"], row[f"{figure}_high_images"]) or "–"
            )
        found.append({"configuration": row["label"], "seeds": int(row["n"]), **cells})
    return pd.DataFrame(found)


def split_offset(analysis: Analysis) -> str:
    """How much harder the test file is than held-out samples of the training file, for the same networks."""
    offsets = analysis.configurations["split_offset_mean"].dropna()
    if offsets.empty:
        return ""
    mean = offsets.mean()
    word, less = ("harder", "less") if mean > 0 else ("easier", "more")
    over = f"mean of {plural(len(offsets), 'configuration')}, {span(offsets.min(), offsets.max())}"
    return (
        f"The test file is {word} than held-out samples of the training file: the same networks are {number(100 * abs(mean))} points "
        f"{less} accurate on it ({over}). So gaps are against held-out samples; those against the test file, as in the book, are "
        "book_gap in comparison.csv."
    )
