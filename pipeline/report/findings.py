"""What the statistics show, as the page, the terminal and MLflow tell it: the two answers, verdicts, and their numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.cli import formatting
from pipeline.report.evidence import Evidence
from pipeline.report.prose import inference
from pipeline.report.prose import verdicts as sentences
from pipeline.statistics import mcnemar, slopes, summary
from pipeline.statistics.analysis import Analysis
from pipeline.statistics.figures import FIGURES, GAPS, Figure
from pipeline.storage.find import beginning
from pipeline.training.result import FINISHED, RunResult


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


def interactions(analysis: Analysis) -> list[str]:
    """Whether the effect of the optimizer depends on the width, a sentence for each figure."""
    return [inference.interaction(found, analysis.declared) for found in analysis.interactions]


def gap_points(analysis: Analysis) -> pd.DataFrame:
    """A row per configuration: the mean gap in accuracy at each declared point, in points, with how many seeds have it."""
    rows: dict[str, dict[str, str]] = {}
    for _, row in analysis.gap_points_by_configuration.iterrows():
        label = str(analysis.configurations.loc[row["configuration"], "label"])
        cell = "–"
        if row["n"]:
            ends = formatting.span(row["gap_accuracy_low"], row["gap_accuracy_high"])
            some = "" if row["n"] == row["of"] else f", {row['n']} of {row['of']} seeds"
            at = f"epoch {row['epoch']:.3g}"
            if 0 < row["on_part"] < row["n"]:
                at += f"; {row['on_part']} on a part"
            cell = (
                f"{formatting.number(100 * row['gap_accuracy_mean'])} ({ends}; {at}{some})"
                if ends
                else f"{formatting.number(100 * row['gap_accuracy_mean'])} ({at}{some})"
            )
        rows.setdefault(label, {"configuration": label})[str(row["point"])] = cell
    for configuration, own in analysis.onsets.groupby("configuration", sort=False):
        known = own["onset"].dropna()
        label = str(analysis.configurations.loc[str(configuration), "label"])
        median = f"{known.median():.3g} (in {len(known)} of {len(own)} runs)" if len(known) else "–"
        rows.setdefault(label, {"configuration": label})["onset epoch, median"] = median
    return pd.DataFrame(list(rows.values())).fillna("–")


def two_kinds(analysis: Analysis) -> bool:
    """Whether a mean of `gap_points` is over runs that are measured on a part of the samples and others on all."""
    points = analysis.gap_points_by_configuration
    return bool(((points["on_part"] > 0) & (points["on_part"] < points["n"])).any())


def onsets(analysis: Analysis) -> str:
    """How many runs' held-out loss only rises from some epoch on, and from which."""
    known = analysis.onsets["onset"].dropna()
    if analysis.onsets["epochs"].max() == 1:
        return "After a single epoch no onset of overfitting can be known."
    runs = formatting.plural(len(analysis.onsets), "run")
    if known.empty:
        return f"In none of {runs} does held-out loss only rise from some epoch on: training ended before overfitting set in."
    return f"In {len(known)} of {runs} held-out loss only rises from some epoch on: in the median from epoch {known.median():.3g}."


def resampled(analysis: Analysis) -> pd.DataFrame:
    """Test accuracy of the best, and the others at its width minus the best: intervals over seeds and images, in % and points."""
    return pd.DataFrame(
        [
            {
                "test accuracy of": row["a"],
                "minus that of": row["b"] or "–",
                "%, or points": formatting.number(100 * row["estimate"]),
                "95 % interval": formatting.span(row["low"], row["high"]),
                "standard error": formatting.number(100 * row["standard_error"], 3),
                "seeds": row["seeds"],
                "images": f"{row['images']:,}",
                "drawn anew": "seeds and images" if row["seeds"] > 1 else "images only, there being one seed",
            }
            for _, row in analysis.bootstrap.iterrows()
        ]
    )


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


def two_best(evidence: Evidence) -> Duel | None:
    """The best network against the best of another configuration, both by validation accuracy: McNemar's test.

    None where nothing is held out to choose by, or there are no predictions of the same images.
    """
    first = evidence.winner
    if first is None or evidence.labels is None or "best/val_accuracy" not in first.figures:
        return None
    others = [
        run
        for run in evidence.main_results
        if run.finished
        and run.job.configuration != first.job.configuration
        and run.predictions is not None
        and len(run.predictions) == len(evidence.labels)
        and run.identity.get("data") == first.identity.get("data")
        and "best/val_accuracy" in run.figures
    ]
    if not others:
        return None
    second = max(others, key=lambda run: (run.figures["best/val_accuracy"], run.name))
    return duel(evidence.labels, first, second)


def width_slopes(evidence: Evidence) -> pd.DataFrame:
    """A row per optimizer: how many points the gap gains with each doubling of the width, over seeds."""
    cells = summary.best_per_cell(evidence.main.sort_index())
    runs = summary.once_per_seed(evidence.runs[evidence.runs["experiment"].eq(evidence.questions[0][1])])
    runs = runs[runs["configuration"].isin(cells["configuration"]) & runs["status"].eq(FINISHED)]
    steep = slopes.over_widths(runs)
    if steep.empty:
        return steep
    table = summary.intervals(steep, ["optimizer"], ["slope"]).sort_values("slope_mean", ascending=False)
    counts = steep.groupby("optimizer").size()
    return pd.DataFrame(
        {
            "optimizer": table["optimizer"].to_list(),
            "seeds": [int(counts[name]) for name in table["optimizer"]],
            "points per doubling": [formatting.number(100 * value) for value in table["slope_mean"]],
            "95 % interval": [
                formatting.span(*ends) or "–" for ends in zip(table["slope_low"], table["slope_high"], strict=True)
            ],
        }
    )
