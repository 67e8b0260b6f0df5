"""The answers in words: whose gap is larger, who generalises worse for the same fit, who was trained too long, who is most accurate.

Each rests on the verdicts of its own contrasts (`statistics.contrasts`); none forbids another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from pipeline.cli.formatting import listed, number, percent, plural, span
from pipeline.report.prose.verdicts import WORDS, factor_words
from pipeline.statistics.analysis import Analysis
from pipeline.statistics.declaration import PREVIOUS
from pipeline.statistics.figures import FIGURES, Question
from pipeline.statistics.verdicts import Kind


@dataclass(frozen=True)
class Answer:
    question: str
    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join(self.sentences)


QUESTIONS = {
    Question.GAP: ("Whose gap is larger?", "gap_accuracy"),
    Question.FIT: ("Who generalises worse for the same fit?", "fit_loss"),
    Question.EXCESS: ("Who was trained too long?", "excess_loss"),
}
"""What is asked, and the figure whose contrasts answer it; the other figures are in the table of all contrasts."""

MOST_ACCURATE = "Which optimizer and width is the most accurate?"


def answers(analysis: Analysis) -> list[Answer]:
    """The three answers, then the most accurate configuration, of a comparison of which some run finished."""
    finished = analysis.configurations[analysis.configurations["n"] > 0]
    found = [
        _answer(
            question, [*_sentences(analysis, finished, figure), *_beside(analysis, finished, asked)], analysis, figure
        )
        for asked, (question, figure) in QUESTIONS.items()
    ]
    return [*found, _answer(MOST_ACCURATE, most_accurate(analysis, finished), analysis, "test_accuracy")]


def _answer(question: str, sentences: Sequence[str], analysis: Analysis, figure: str) -> Answer:
    """With the number of seeds that it rests on, where anything is claimed."""
    rows = analysis.contrasts[analysis.contrasts["figure"].eq(figure)]
    return Answer(question, (*sentences, *([_strength(rows)] if rows["standing"].ne("").any() else [])))


def _sentences(analysis: Analysis, finished: pd.DataFrame, figure: str) -> list[str]:
    """A sentence for each factor that was varied."""
    rows = analysis.contrasts[analysis.contrasts["figure"].eq(figure)]
    if rows.empty:
        return (
            ["There is nothing to compare it with."]
            if len(finished) == 1
            else ["No two configurations differ in one value only."]
        )
    most, least = int(rows["n"].max()), analysis.declared.seeds_to_explore
    if most < least:
        return [f"{plural(most, 'seed')} carry no claim, it takes {least}: the picture shows what was measured."]
    found = []
    for factor, own in rows.groupby("contrast", sort=False):
        by_size = _ordered(analysis, str(factor))
        said = _by_size(own, str(factor), figure) if by_size else _by_value(own, analysis, str(factor), figure)
        found.append(f"{_capital(said)}.")
    return found


def _capital(sentence: str) -> str:
    """A capital letter, unless the sentence begins with a value of conf/, such as `sgd`."""
    return (
        sentence[0].upper() + sentence[1:]
        if sentence.startswith(("at ", "the ", "a ", "one ", "no ", "neighbouring "))
        else sentence
    )


def _ordered(analysis: Analysis, factor: str) -> bool:
    """Whether each value is held against the next smaller one."""
    return any(found.factor == factor and found.used == PREVIOUS for found in analysis.design.references)


def _strength(rows: pd.DataFrame) -> str:
    """How many seeds that rests on."""
    fewest, most = int(rows["n"].min()), int(rows["n"].max())
    standings = set(rows.loc[rows["standing"].ne(""), "standing"])
    strength = "enough to confirm" if standings == {"confirmed"} else "exploratory"
    return f"Based on {'' if fewest == most else 'up to '}{plural(most, 'seed')} ({strength})."


def _by_size(rows: pd.DataFrame, factor: str, figure: str) -> str:
    """Of a factor whose values have an order: how often the larger value has the larger figure."""
    about, names = WORDS[figure], factor_words(factor)
    within = _within(rows, figure)
    equal = int(rows["verdict"].eq(Kind.EQUIVALENT).sum())
    parts = _claims(rows, figure)
    if parts:
        said = f"{names.larger} {_than(parts, names.smaller)}"
        return f"{about.lead}{said}{f'; {equal} of {len(rows)} are {within}' if equal else ''}"
    if equal == len(rows):
        return f"{about.lead}neighbouring {names.name} are {within} of each other"
    some = f"; {equal} of {plural(len(rows), 'comparison')} are {within}" if equal else ""
    return f"{about.lead}no difference between {names.name} is shown{some}"


def _by_value(rows: pd.DataFrame, analysis: Analysis, factor: str, figure: str) -> str:
    """Of a factor with a reference value: each other value against it."""
    values = _values(rows, analysis, factor)
    reference = str(values["b"].iloc[0])
    parts, equal, unclear = [], [], []
    for value, own in rows.groupby(values["a"], sort=False):
        if claims := _claims(own, figure):
            parts.append(f"{value} {_than(claims, reference)}")
        elif own["verdict"].eq(Kind.EQUIVALENT).all():
            equal.append(str(value))
        else:
            unclear.append(str(value))
    if equal:
        parts.append(f"{listed(equal)} {'is' if len(equal) == 1 else 'are'} {_within(rows, figure)} of {reference}")
    if unclear:
        parts.append(f"no difference from {reference} is shown for {listed(unclear)}")
    return f"{WORDS[figure].lead}{'; '.join(parts)}"


def _within(rows: pd.DataFrame, figure: str) -> str:
    """How near two equivalent configurations are."""
    return f"within {FIGURES[figure].declared(float(rows['margin'].iloc[0]))}"


def _claims(rows: pd.DataFrame, figure: str) -> list[tuple[str, str]]:
    """What is claimed of A, and in how many of these contrasts, by how much."""
    about = WORDS[figure]
    found = []
    for kind, words in ((Kind.LARGER, about.larger), (Kind.SMALLER, about.smaller)):
        own = rows[rows["verdict"].eq(kind)]
        if len(own):
            counted = f"in {len(own)} of {plural(len(rows), 'comparison')}, " if len(rows) > 1 else ""
            found.append((words, f"{counted}by {_sizes(own, figure)}"))
    return found


def _than(parts: Sequence[tuple[str, str]], other: str) -> str:
    (words, size), *more = parts
    return " and ".join([f"{words} than {other} ({size})", *(f"{words} ({size})" for words, size in more)])


def _values(rows: pd.DataFrame, analysis: Analysis, factor: str) -> pd.DataFrame:
    """The values of a factor that the sides A and B have, in words."""
    table = analysis.configurations
    column = factor.removeprefix("model.") if factor in ("model.width", "model.depth") else factor
    name = column.rpartition(".")[2].replace("_", " ")
    prefix = "" if column == "optimizer" else f"{name} "
    sides = {
        side: rows[f"{side}_configuration"].map(table[column]).map(lambda value: f"{prefix}{value}") for side in "ab"
    }
    return pd.DataFrame(sides)


def _sizes(rows: pd.DataFrame, figure: str) -> str:
    about = FIGURES[figure]
    sizes = (about.scale * rows["difference"].abs()).sort_values()
    low, high = (number(size, about.digits) for size in (sizes.iloc[0], sizes.iloc[-1]))
    return f"{low} {about.unit}" if low == high else f"{low} to {high} {about.unit}"


def _beside(analysis: Analysis, finished: pd.DataFrame, asked: Question) -> list[str]:
    """What else belongs to an answer: a reversal at equal fit, and how far the worst has risen."""
    if asked is Question.FIT:
        return _reversals(analysis.contrasts)
    if asked is Question.EXCESS and int(finished["n"].max()) >= analysis.declared.seeds_to_explore:
        return _risen(finished, analysis.declared.margin["excess_loss"])
    return []


def _reversals(rows: pd.DataFrame) -> list[str]:
    """Factors of which one value has the larger gap at the end, and the smaller one for the same fit."""
    found = []
    for factor, own in rows.groupby("contrast", sort=False):
        pair = ["a_configuration", "b_configuration"]
        gap, fit = (own[own["figure"].eq(figure)].set_index(pair)["verdict"] for figure in ("gap_loss", "fit_loss"))
        turned = (gap.eq(Kind.LARGER) & fit.eq(Kind.SMALLER)) | (gap.eq(Kind.SMALLER) & fit.eq(Kind.LARGER))
        if turned.any():
            name = factor_words(str(factor)).name
            found.append(
                f"{name[0].upper()}{name[1:]}: in {int(turned.sum())} of {plural(len(gap), 'comparison')} the side with the larger gap "
                "in loss at the end has the smaller one at equal training loss: it has fitted further, and generalises better."
            )
    return found


def _risen(finished: pd.DataFrame, margin: float) -> list[str]:
    """Whose held-out loss ends farthest over its minimum, and how many configurations have not turned."""
    risen = finished[finished["excess_loss_mean"].gt(margin)].sort_values("excess_loss_mean", ascending=False)
    if risen.empty:
        return [
            f"No configuration ends more than {FIGURES['excess_loss'].declared(margin)} over its lowest held-out loss."
        ]
    worst = risen.iloc[0]
    lost = FIGURES["excess_loss"].size(worst["excess_loss_mean"])
    over = f"{len(risen)} of {plural(len(finished), 'configuration')} end more than {FIGURES['excess_loss'].declared(margin)} over"
    return [
        f"{over} their lowest held-out loss; {worst['label']} has lost most, {lost} since epoch {worst['lowest_epoch_mean']:.0f}."
    ]


def most_accurate(analysis: Analysis, finished: pd.DataFrame) -> Sequence[str]:
    """The configuration of highest validation accuracy, with its test accuracy; of a few the only one."""
    if analysis.best is None:
        return ("No validation samples are held out, and the test file is not for choosing: no best is named.",)
    row = finished[finished.index == analysis.best].iloc[0]
    ends = span(row["test_accuracy_low_images"], row["test_accuracy_high_images"])
    interval = f" (95 % interval over seeds and images {ends}, {plural(int(row['n']), 'seed')})" if ends else ""
    test = f"classifies {percent(row['test_accuracy_mean'])} of the test images correctly{interval}."
    if len(finished) == 1:
        return (f"{row['label']}, the only configuration, {test}",)
    lead = (
        f"**{row['label']}** has the highest mean validation accuracy, {percent(row['val_accuracy_mean'])}; it {test}"
    )
    enough = int(row["n"]) >= analysis.declared.seeds_to_explore
    return (lead, *(_sentences(analysis, finished, "test_accuracy") if enough else ()))
