"""The answers: whose gap is larger, who generalises worse for the same fit, who was trained too long, which is most accurate.

Each follows from the verdicts of its own contrasts (`statistics.contrasts`), independently of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from pipeline.cli.formatting import listed, number, percent, plural, span
from pipeline.report.prose.verdicts import WORDS, factor_words
from pipeline.statistics.analysis import Analysis
from pipeline.statistics.contrasts import CROSS_ENTROPY
from pipeline.statistics.declaration import DEPTH, OPTIMIZER, PREVIOUS, WIDTH
from pipeline.statistics.design import setting
from pipeline.statistics.metrics import FIT, METRICS
from pipeline.statistics.verdicts import Kind


@dataclass(frozen=True)
class Answer:
    question: str
    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join(self.sentences)


def answers(analysis: Analysis) -> list[Answer]:
    """The answers for a comparison with at least one finished run, the most accurate configuration last."""
    finished = analysis.configurations[analysis.configurations["n"] > 0]
    gap, fit, excess = (
        _sentences(analysis, finished, metric) for metric in ("gap_accuracy", "fit_loss", "excess_loss")
    )
    fit += _reversals(analysis.contrasts)
    excess = [*_risen(analysis, finished), *excess]
    return [
        _answer("Whose gap is larger?", "gap_accuracy", gap, analysis),
        _answer("Who generalises worse for the same fit?", "fit_loss", fit, analysis),
        _answer("Who was trained too long?", "excess_loss", excess, analysis),
        _answer("Which is the most accurate?", "test_accuracy", most_accurate(analysis, finished), analysis),
    ]


def _answer(question: str, metric: str, sentences: Sequence[str], analysis: Analysis) -> Answer:
    """Add the number of seeds, if there are enough for a claim."""
    rows = analysis.contrasts[analysis.contrasts["figure"].eq(metric) & analysis.contrasts["standing"].ne("")]
    if rows.empty:
        return Answer(question, tuple(sentences))
    strength = "enough to confirm" if set(rows["standing"]) == {"confirmed"} else "exploratory"
    few, most = int(rows["n"].min()), int(rows["n"].max())
    seeds = plural(most, "seed") if few == most else f"{few} to {most} seeds"
    return Answer(question, (*sentences, f"Based on {seeds} ({strength})."))


def _sentences(analysis: Analysis, finished: pd.DataFrame, metric: str) -> list[str]:
    """One sentence per factor."""
    rows = analysis.contrasts[analysis.contrasts["figure"].eq(metric)]
    if rows.empty:
        only = "Only one configuration finished, so there is nothing to compare."
        return [only if len(finished) == 1 else "No two configurations differ in exactly one value."]
    most, least = int(rows["n"].max()), analysis.declared.seeds_to_explore
    if not most:
        shared = "have no finished seed in common"
        if metric in FIT and analysis.contrasts["n"].any():
            shared = "have no training loss in common"
        elif rows["unlike"].any():
            shared = "share no seed with the same data, code and device"
        return [f"The compared networks {shared}, so nothing is shown."]
    if most < least:
        few = plural(most, "seed is", "seeds are")
        return [f"{few} too few for a claim, which takes {least}. The chart shows what was measured."]
    factors = list(rows.groupby("contrast", sort=False))
    # First the factor with the largest share of claimed differences.
    factors.sort(key=lambda factor: -factor[1]["verdict"].isin([Kind.LARGER, Kind.SMALLER]).mean())
    return [_of_factor(own, analysis, str(factor), metric) for factor, own in factors]


def _of_factor(rows: pd.DataFrame, analysis: Analysis, factor: str, metric: str) -> str:
    """One sentence: each value of a factor against its reference."""
    ordered = any(found.factor == factor and found.used == PREVIOUS for found in analysis.design.references)
    names, about = factor_words(factor), WORDS[metric]
    values = pd.Series(names.larger, rows.index) if ordered else _values(rows, analysis, factor, "a")
    references = _values(rows, analysis, factor, "b")
    other = names.smaller if ordered else references.iloc[0] if references.nunique() == 1 else "the reference"
    parts, equal, unclear = [], [], []
    for value, own in rows.groupby(values, sort=False):
        if claims := _claims(own, metric, other):
            parts.append(f"{value} {claims}")
        elif own["verdict"].eq(Kind.EQUIVALENT).all():
            equal.append(str(value))
        else:
            unclear.append(str(value))
    if equal:
        within = METRICS[metric].declared(float(rows["margin"].max()))
        parts.append(f"{listed(equal)} {'is' if len(equal) == 1 else 'are'} within {within} of {other}")
    if unclear:
        parts.append(f"no difference from {other} is shown for {listed(unclear)}")
    text = f"{about.lead}{'; '.join(parts)}."
    # A value of conf/, such as `sgd`, stays in lower case.
    return text if not ordered and text.startswith(tuple(values)) else text[0].upper() + text[1:]


def _claims(rows: pd.DataFrame, metric: str, other: str) -> str:
    """The differences claimed in these contrasts, how many and how large; empty if there are none."""
    words, about, found = WORDS[metric], METRICS[metric], []
    for kind, phrase in ((Kind.LARGER, words.larger), (Kind.SMALLER, words.smaller)):
        own = rows[rows["verdict"].eq(kind)]
        if len(own):
            counted = f"in {len(own)} of {plural(len(rows), 'comparison')}, " if len(rows) > 1 else ""
            sizes = (about.scale * own["difference"].abs()).agg(["min", "max"])
            low, high = (number(size, about.digits) for size in sizes)
            size = low if low == high else f"{low} to {high}"
            found.append(f"{phrase} than {other} ({counted}by {size} {about.unit})")
    return " and ".join(found)


def _values(rows: pd.DataFrame, analysis: Analysis, factor: str, side: str) -> pd.Series:
    """The values of a factor on one side of these contrasts, as text."""
    table = analysis.configurations.loc[rows[f"{side}_configuration"]].set_index(rows.index)
    if factor in (WIDTH, DEPTH):
        column = factor.removeprefix("model.")
        return table[column].map(lambda value: setting(column, value))
    return table["optimizer"] if factor == OPTIMIZER else table["settings"].map(lambda words: words[factor])


def _reversals(rows: pd.DataFrame) -> list[str]:
    """Sentences on factors where the side with the larger gap at the end has the smaller one for the same fit."""
    found = []
    for factor, own in rows.groupby("contrast", sort=False):
        pair = ["a_configuration", "b_configuration"]
        gap, fit = (own[own["figure"].eq(metric)].set_index(pair)["verdict"] for metric in ("gap_loss", "fit_loss"))
        reversed_ = (gap.eq(Kind.LARGER) & fit.eq(Kind.SMALLER)) | (gap.eq(Kind.SMALLER) & fit.eq(Kind.LARGER))
        if reversed_.any():
            name = factor_words(str(factor)).name
            found.append(
                f"{name[0].upper()}{name[1:]}: in {int(reversed_.sum())} of {plural(len(gap), 'comparison')} the side with the larger "
                "loss gap at the end has the smaller one at equal training loss: it has fitted further and generalises better."
            )
    return found


def _risen(analysis: Analysis, finished: pd.DataFrame) -> list[str]:
    """How many configurations end above their lowest held-out loss, and which one the most; nothing of losses not in nats."""
    if finished["n"].max() < analysis.declared.seeds_to_explore or not finished["loss"].isin(CROSS_ENTROPY).all():
        return []
    about, margin = METRICS["excess_loss"], analysis.declared.margin["excess_loss"]
    risen = finished[finished["excess_loss_mean"].gt(margin)].sort_values("excess_loss_mean", ascending=False)
    if risen.empty:
        return [f"No configuration ends more than {about.declared(margin)} above its lowest held-out loss."]
    worst = risen.iloc[0]
    count = f"{len(risen)} of {plural(len(finished), 'configuration')}"
    rise = f"{about.size(worst['excess_loss_mean'])} since epoch {worst['lowest_epoch_mean']:.0f}"
    above = f"{count} end more than {about.declared(margin)} above their lowest held-out loss"
    return [f"{above}; the largest rise is {rise}, for {worst['label']}."]


def most_accurate(analysis: Analysis, finished: pd.DataFrame) -> list[str]:
    """The configuration of highest validation accuracy, with its test accuracy."""
    if analysis.best is None:
        return ["No samples are held out for validation, and the test file selects nothing, so no best is named."]
    row = finished[finished.index == analysis.best].iloc[0]
    ends = span(row["test_accuracy_low_images"], row["test_accuracy_high_images"])
    interval = f" (95 % interval over seeds and samples {ends}, {plural(row['n'], 'seed')})" if ends else ""
    test = f"classifies {percent(row['test_accuracy_mean'])} of the test samples correctly{interval}."
    if len(finished) == 1:
        return [f"{row['label']}, the only configuration, {test}"]
    highest = f"has the highest mean validation accuracy, {percent(row['val_accuracy_mean'])}"
    claims = _sentences(analysis, finished, "test_accuracy") if row["n"] >= analysis.declared.seeds_to_explore else []
    return [f"**{row['label']}** {highest}; it {test}", *claims]
