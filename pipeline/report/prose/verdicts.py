"""One sentence per contrast, with the notes in contrasts.csv; one sentence per repeated training."""

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
from pipeline.statistics.metrics import FIT, METRICS
from pipeline.statistics.verdicts import Kind, Lack

TEXTS = ["note", "sentence"]
"""Columns of contrasts.csv that are texts."""


@dataclass(frozen=True)
class Words:
    """How a sentence says that a metric of one configuration is larger or smaller than that of another."""

    larger: str
    smaller: str
    lead: str = ""


_FIT = "at equal training loss, "
WORDS = {
    "test_accuracy": Words("is more accurate", "is less accurate"),
    "gap_accuracy": Words("has a larger gap", "has a smaller gap"),
    "gap_loss": Words("has a larger loss gap", "has a smaller loss gap"),
    "fit_loss": Words("generalises worse", "generalises better", _FIT),
    "fit_accuracy": Words("is more accurate on held-out samples", "is less accurate on held-out samples", _FIT),
    "excess_loss": Words("ends further above its lowest held-out loss", "ends closer to its lowest held-out loss"),
}


@dataclass(frozen=True)
class Factor:
    """How sentences name a factor, its larger and its next smaller value."""

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
    """The claim of a contrast; or why there is none, and how many seeds would decide."""
    about, words, a, b = METRICS[row["figure"]], WORDS[row["figure"]], row["a"], row["b"]
    lead = f"{words.lead[:1].upper()}{words.lead[1:]}{a}"
    seeds = plural(int(row["n"]), "seed")
    if row["verdict"] in (Kind.LARGER, Kind.SMALLER):
        sign = 1 if row["difference"] > 0 else -1
        low, high = sorted(sign * row[end] for end in ("low", "high"))
        size = f"{about.size(abs(row['difference']))} ({span(low, high, about.scale, about.digits)})"
        phrase = words.larger if row["verdict"] == Kind.LARGER else words.smaller
        return f"{lead} {phrase} than {b}, by {size}; {seeds}, {row['standing']}, Holm {p_value(row['holm'])}."
    if row["verdict"] == Kind.EQUIVALENT:
        margin = about.declared(row["margin"])
        return f"{a} and {b} are equivalent in {about.name} within ± {margin}; {seeds}, {row['standing']}."
    reasons = "; ".join(_reason(lack, row) for lack in (row["lacks"].split("; ") if row["n"] else [Lack.SEEDS]))
    return f"No difference in {about.name} between {a} and {b} is shown: {reasons}.{_more_seeds(row['more_seeds'])}"


def _reason(lack: str, row: pd.Series) -> str:
    about = METRICS[row["figure"]]
    if lack == Lack.SEEDS:
        return f"{plural(int(row['n']), 'seed is', 'seeds are')} too few for a claim"
    if lack == Lack.SIGNIFICANCE:
        return f"Holm {p_value(row['holm'])}"
    if math.isnan(row["margin"]):
        return "no margin is declared for this loss"
    return f"{about.size(row['difference'])} do not exceed the margin of {about.declared(row['margin'])}"


def _more_seeds(needed: float) -> str:
    if math.isnan(needed):
        return ""
    if math.isinf(needed):
        return " More seeds would not decide it."
    return f" About {plural(int(needed), 'more seed')} would decide."


def note(row: pd.Series) -> str:
    """Why a row of contrasts.csv uses fewer seeds than were trained; empty if it uses all."""
    lost = {row[side]: int(row[f"lost_{side}"]) for side in ("a", "b")}
    found = [f"{plural(count, 'run')} of {label} did not finish" for label, count in lost.items() if count]
    if row["unlike"]:
        found.append(f"{plural(int(row['unlike']), 'seed')} left out: different data, code or device")
    if row["n"] == 0:
        with_what = "with a common training loss" if row["figure"] in FIT else "in common"
        found.append(f"no {'other ' if row['unlike'] else ''}seed {with_what}, so nothing is paired")
    if row["n"] < row["seeds"]:
        found.append(f"only the first {int(row['n'])} of {plural(int(row['seeds']), 'seed')} count for the claim")
    return "; ".join(found)


def with_sentences(analysis: Analysis) -> pd.DataFrame:
    """The contrasts, each with a `note` and a `sentence`."""
    rows = analysis.contrasts
    texts = [(note(row), sentence(row)) for _, row in rows.iterrows()]
    return rows.assign(**pd.DataFrame(texts, index=rows.index, columns=TEXTS))


def of_comparisons(analyses: Mapping[tuple[str, str], Analysis]) -> pd.DataFrame:
    """The rows of contrasts.csv: the contrasts of all comparisons, with the experiment of each."""
    parts = [
        with_sentences(own).assign(experiment=experiment)
        for (_, experiment), own in analyses.items()
        if len(own.contrasts)
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*COLUMNS, *TEXTS, "experiment"])


def repetition(found: Consistency) -> str:
    """How much a repeated training differs from the first, and how much two seeds do."""
    if found.seeds:
        return (
            f"test accuracy changed by {100 * found.change:+.2f} points; two of {found.seeds} seeds differ by less than "
            f"{100 * found.bound:.2f} in {1 - ALPHA:.1%} of cases"
        )
    return (
        f"{found.only_then} samples are correct only before, {found.only_now} only now (McNemar's exact test, "
        f"{p_value(found.p)}); with fewer than three seeds of this configuration here, their spread is unknown"
    )
