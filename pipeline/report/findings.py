"""What the statistics show, as the page, the terminal and MLflow tell it: the two answers, verdicts, and their numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.report import words
from pipeline.statistics import interaction
from pipeline.statistics.analysis import Analysis
from pipeline.statistics.wording import FIGURES, p_value


@dataclass(frozen=True)
class Verdicts:
    """The contrasts of one figure: how many end in which verdict, and a table of them all."""

    figure: str
    title: str
    summary: str
    sentences: list[str]
    table: pd.DataFrame


def verdicts(analysis: Analysis) -> list[Verdicts]:
    """One for each figure that there are contrasts of."""
    found = []
    for figure, about in FIGURES.items():
        rows = analysis.contrasts[analysis.contrasts["figure"].eq(figure)]
        if rows.empty:
            continue
        counts = rows["verdict"].value_counts()
        told = [f"{count} × {verdict}" for verdict, count in counts.items()]
        claims = rows[rows["lacks"].eq("")]
        title = f"{about.words[0].upper()}{about.words[1:]}"
        found.append(Verdicts(figure, title, ", ".join(told), claims["sentence"].tolist(), _table(rows, figure)))
    return found


def _table(rows: pd.DataFrame, figure: str) -> pd.DataFrame:
    about = FIGURES[figure]

    def row(one: pd.Series) -> dict[str, Any]:
        return {
            "A": one["a"],
            "B": one["b"],
            "seeds": int(one["n"]),
            f"A − B, {about.unit}": words.number(about.scale * one["difference"], about.digits),
            "95 % interval": words.span(one["low"], one["high"], about.scale, about.digits),
            "Holm": p_value(one["holm"]),
            "P(A > B)": words.number(one["probability_greater"]),
            "detectable": words.number(about.scale * one["detectable"], about.digits),
            "more seeds": _seeds(one["seeds_still_needed"]),
            "verdict": one["verdict"],
            "why no claim": one["lacks"],
        }

    return pd.DataFrame([row(one) for _, one in rows.iterrows()])


def _seeds(needed: float) -> str:
    if math.isnan(needed):
        return "–"
    return "too many" if needed > 100_000 else f"{needed:,.0f}"


def interactions(analysis: Analysis) -> list[str]:
    """Whether the effect of the optimizer depends on the width, a sentence for each figure."""
    return [interaction.in_words(one, analysis.declared) for one in analysis.interactions]


def gap_points(analysis: Analysis) -> pd.DataFrame:
    """A row per configuration: the mean gap in accuracy at each declared point, in points, with how many seeds have it."""
    rows: dict[str, dict[str, str]] = {}
    for _, one in analysis.gap_points_by_configuration.iterrows():
        label = str(analysis.configurations.loc[one["configuration"], "label"])
        cell = "–"
        if one["n"]:
            ends = words.span(one["gap_accuracy_low"], one["gap_accuracy_high"])
            some = "" if one["n"] == one["of"] else f", {one['n']} of {one['of']} seeds"
            at = f"epoch {one['epoch']:.3g}"
            cell = (
                f"{words.number(100 * one['gap_accuracy_mean'])} ({ends}; {at}{some})"
                if ends
                else f"{words.number(100 * one['gap_accuracy_mean'])} ({at}{some})"
            )
        rows.setdefault(label, {"configuration": label})[str(one["point"])] = cell
    return pd.DataFrame(list(rows.values()))


def onsets(analysis: Analysis) -> str:
    """How many runs' held-out loss only rises from some epoch on, and from which."""
    known = analysis.onsets["onset"].dropna()
    runs = words.plural(len(analysis.onsets), "run")
    if known.empty:
        return f"In none of {runs} does held-out loss only rise from some epoch on: training ended before overfitting set in."
    return f"In {len(known)} of {runs} held-out loss only rises from some epoch on: in the median from epoch {known.median():.3g}."
