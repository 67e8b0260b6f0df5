"""A contrast in one sentence, and what its row of contrasts.csv notes; a repeated training in one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from pipeline.cli.formatting import p_value, plural, span
from pipeline.statistics.analysis import Analysis
from pipeline.statistics.consistency import ALPHA, Consistency
from pipeline.statistics.contrasts import COLUMNS
from pipeline.statistics.declaration import DEPTH, NETWORK, OPTIMIZER, TRAIN_SIZE, WIDTH
from pipeline.statistics.metrics import METRICS
from pipeline.statistics.verdicts import Kind, Lack

SAID = ["note", "sentence"]
"""Columns of contrasts.csv that are words."""


@dataclass(frozen=True)
class Words:
    """What it means that a figure of one configuration is larger or smaller than that of another."""

    larger: str
    smaller: str
    lead: str = ""


_FIT = "at equal training loss, "
WORDS = {
    "test_accuracy": Words("is more accurate", "is less accurate"),
    "gap_accuracy": Words("has a larger gap", "has a smaller gap"),
    "gap_loss": Words("has a larger gap in loss", "has a smaller gap in loss"),
    "fit_loss": Words("generalises worse", "generalises better", _FIT),
    "fit_accuracy": Words("is more accurate on held-out samples", "is less accurate on held-out samples", _FIT),
    "excess_loss": Words(
        "has lost more since its lowest held-out loss", "has lost less since its lowest held-out loss"
    ),
}


@dataclass(frozen=True)
class Factor:
    """What was varied: its name, and what the larger and the next smaller value are called."""

    name: str
    larger: str
    smaller: str


FACTORS = {
    OPTIMIZER: Factor("optimizers", "an optimizer", "its reference"),
    WIDTH: Factor("widths", "the wider network", "the next narrower one"),
    DEPTH: Factor("depths", "the deeper network", "the next shallower one"),
    TRAIN_SIZE: Factor("training sizes", "a network trained on more samples", "one trained on the next smaller number"),
    NETWORK: Factor("networks", "a network", "its reference"),
}


def factor_words(factor: str) -> Factor:
    name = factor.rpartition(".")[2].replace("_", " ")
    return FACTORS.get(factor, Factor(name, f"a larger {name}", "the next smaller one"))


def sentence(row: pd.Series) -> str:
    """What is claimed of a contrast, or why nothing is, and how many seeds would decide."""
    about, words, a, b = METRICS[row["figure"]], WORDS[row["figure"]], row["a"], row["b"]
    lead = f"{words.lead[:1].upper()}{words.lead[1:]}{a}"
    seeds = plural(int(row["n"]), "seed")
    if row["verdict"] in (Kind.LARGER, Kind.SMALLER):
        low, high = sorted(abs(row[end]) for end in ("low", "high"))
        size = f"{about.size(abs(row['difference']))} ({span(low, high, about.scale, about.digits)})"
        said = words.larger if row["verdict"] == Kind.LARGER else words.smaller
        return f"{lead} {said} than {b}, by {size}; {seeds}, {row['standing']}, Holm {p_value(row['holm'])}."
    if row["verdict"] == Kind.EQUIVALENT:
        margin = about.declared(row["margin"])
        return f"{a} and {b} are equivalent in {about.name} within ± {margin}; {seeds}, {row['standing']}."
    reasons = "; ".join(_reason(lack, row) for lack in row["lacks"].split("; ") if lack)
    return f"No difference between {a} and {b} in {about.name} is shown: {reasons}.{_more_seeds(row['more_seeds'])}"


def _reason(lack: str, row: pd.Series) -> str:
    about = METRICS[row["figure"]]
    if lack == Lack.SEEDS:
        return f"{plural(int(row['n']), 'seed carries', 'seeds carry')} no claim"
    if lack == Lack.SIGNIFICANCE:
        return f"Holm {p_value(row['holm'])}"
    if math.isnan(row["margin"]):
        return "no margin is declared for this loss"
    return f"{about.size(row['difference'])} are not over the margin of {about.declared(row['margin'])}"


def _more_seeds(needed: float) -> str:
    if math.isnan(needed):
        return ""
    if math.isinf(needed):
        return " Seeds alone would not decide it."
    return f" About {plural(int(needed), 'more seed')} would decide."


def note(row: pd.Series) -> str:
    """Why a row of contrasts.csv rests on fewer seeds than were trained; empty where it does not."""
    lost = {row[side]: int(row[f"lost_{side}"]) for side in ("a", "b")}
    said = [f"{plural(count, 'run')} of {label} did not finish" for label, count in lost.items() if count]
    if row["unlike"]:
        said.append(f"{plural(int(row['unlike']), 'seed')} left out: other data, code or device")
    if row["n"] == 0:
        said.append("no seed in common, so nothing is paired")
    if row["n"] < row["seeds"]:
        said.append(f"the first {int(row['n'])} of {plural(int(row['seeds']), 'seed')} carry the claim")
    return "; ".join(said)


def with_sentences(analysis: Analysis) -> pd.DataFrame:
    """The contrasts with a `note` and the `sentence` of each."""
    rows = analysis.contrasts
    said = [(note(row), sentence(row)) for _, row in rows.iterrows()]
    return rows.assign(**pd.DataFrame(said, index=rows.index, columns=SAID))


def of_comparisons(analyses: Mapping[tuple[str, str], Analysis]) -> pd.DataFrame:
    """The rows of contrasts.csv: those of each comparison, (data set, experiment), with the name of its experiment."""
    parts = [
        with_sentences(own).assign(experiment=experiment)
        for (_, experiment), own in analyses.items()
        if len(own.contrasts)
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*COLUMNS, *SAID, "experiment"])


def repetition(found: Consistency) -> str:
    """How far a training that was repeated differs, and how far two that are alike may."""
    if found.seeds:
        return (
            f"test accuracy changed by {100 * found.change:+.2f} points; between two of {found.seeds} seeds it changes by less "
            f"than {100 * found.bound:.2f} in {1 - ALPHA:.1%} of cases"
        )
    return (
        f"{found.only_then} samples are right only then, {found.only_now} only now (McNemar's exact test, "
        f"{p_value(found.p)}); there are no three seeds of this configuration here to say more"
    )
