"""What the statistics show, as the page, the terminal and MLflow tell it: the two answers, verdicts, and their numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.cli import formatting
from pipeline.report.prose import inference
from pipeline.report.prose import verdicts as sentences
from pipeline.statistics import mcnemar, summary
from pipeline.statistics.analysis import Analysis
from pipeline.statistics.figures import FIGURES, GAPS, Figure
from pipeline.storage.find import beginning
from pipeline.training.result import RunResult


@dataclass(frozen=True)
class Verdicts:
    """The contrasts of one figure: how many end in which verdict, and a table of them all."""

    figure: str
    title: str
    summary: str
    sentences: list[str]
    table: pd.DataFrame
    lead: str = ""
    """What its differences are against, where that is not one and the same."""


def verdicts(analysis: Analysis) -> list[Verdicts]:
    """One for each figure that there are contrasts of."""
    found, contrasts = [], sentences.with_sentences(analysis)
    for figure, about in FIGURES.items():
        rows = contrasts[contrasts["figure"].eq(figure)]
        if rows.empty:
            continue
        counts = rows["verdict"].value_counts()
        told = [f"{count} × {verdict}" for verdict, count in counts.items()]
        claims = rows[rows["lacks"].eq("")]
        title = f"{about.name[0].upper()}{about.name[1:]}"
        lead = (
            "A − B is of the gaps after the last epoch, against the test split; at equal training loss it is of those of the "
            f"curves, against {held_out(analysis)}."
        )
        said = claims["sentence"].tolist(), _table(rows, figure), lead if figure in GAPS else ""
        found.append(Verdicts(figure, title, ", ".join(told), *said))
    return found


def held_out(analysis: Analysis) -> str:
    """What the gaps of the curves are against: `the validation split`, or `the test split` where nothing is held out."""
    splits = {"val": "the validation split", "test": "the test split"}
    return " or ".join(splits[name] for name in splits if analysis.gap_points["held_out"].eq(name).any())


def _table(rows: pd.DataFrame, figure: str) -> pd.DataFrame:
    about = FIGURES[figure]

    def cells(row: pd.Series) -> dict[str, Any]:
        return {
            "A": row["a"],
            "B": row["b"],
            "seeds": int(row["n"]),
            f"A − B, {about.unit}": formatting.number(about.scale * row["difference"], about.digits),
            "95 % interval": formatting.span(row["low"], row["high"], about.scale, about.digits),
            "Holm": formatting.p_value(row["holm"]),
            "P(A > B)": formatting.number(row["probability_greater"]),
            "detectable": _detectable(row["detectable_in_family"], figure),
            "more seeds": _seeds(row["more_seeds"]),
            **(_matched(row, about) if figure in GAPS else {}),
            "verdict": row["verdict"],
            "why no claim": row["lacks"],
        }

    return pd.DataFrame([cells(row) for _, row in rows.iterrows()])


def _matched(row: pd.Series, about: Figure) -> dict[str, str]:
    """The same difference where both have fitted equally far."""
    ends = formatting.span(row["matched_low"], row["matched_high"], about.scale, about.digits)
    value = formatting.number(about.scale * row["matched_difference"], about.digits)
    return {
        "A − B at equal training loss": f"{value} ({ends})" if ends else value,
        "that loss": formatting.number(row["matched_training_loss"], 3),
    }


def _seeds(needed: float) -> str:
    if math.isnan(needed):
        return "–"
    return "not decidable by seeds" if math.isinf(needed) else f"{needed:,.0f}"


def _detectable(difference: float, figure: str) -> str:
    """The smallest detectable difference; `none` where it is larger than any that is possible."""
    low, high = summary.BOUNDS.get(figure, summary.UNBOUNDED)
    about = FIGURES[figure]
    return "none" if difference > high - low else formatting.number(about.scale * difference, about.digits)


@dataclass(frozen=True)
class Duel:
    """Two networks on the same test images."""

    sentence: str
    table: pd.DataFrame
    runs: list[RunResult]

    def as_text(self) -> str:
        return f"{self.table.to_string(index=False)}\n{self.sentence}"


def duel(labels: np.ndarray, first: RunResult, second: RunResult) -> Duel:
    """McNemar's test of two given runs. Raises UserError where one has no predictions, or they are of other images."""
    found = mcnemar.of_runs(labels, first, second)
    # Two runs may share a name: of one network with and without validation samples, or of two depths of a sweep.
    names = [run.name if first.name != second.name else f"{run.name} ({beginning(run.key)})" for run in (first, second)]
    table = pd.DataFrame(
        {
            "test images": [f"right with {names[0]}", f"wrong with {names[0]}"],
            f"right with {names[1]}": [found.both, found.only_second],
            f"wrong with {names[1]}": [found.only_first, found.neither],
        }
    )
    return Duel(inference.mcnemar(found, *names), table, [first, second])
