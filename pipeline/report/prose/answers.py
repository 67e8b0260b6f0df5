"""The two questions, answered in words that rest on the verdicts alone: which optimizer and width, and who overfits more."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from pipeline.cli.formatting import listed, percent, plural, span
from pipeline.report.prose.verdicts import decide
from pipeline.statistics.analysis import Analysis
from pipeline.statistics.declaration import OPTIMIZERS, WIDTHS, Declaration
from pipeline.statistics.design import main_dataset
from pipeline.statistics.figures import FIGURES, OVERFITTING
from pipeline.statistics.verdicts import Kind, Lack


def answers(analysis: Analysis) -> tuple[str, str]:
    """Which optimizer and width, and who overfits more."""
    table, judged = analysis.configurations, analysis.contrasts
    return which(table, judged, analysis.best), overfits(table, judged, analysis.declared)


def which(table: pd.DataFrame, judged: pd.DataFrame, best: str | None) -> str:
    """Which optimizer and width. `table` has the means and intervals of each configuration."""
    main = main_dataset(table)
    if main.empty:
        return "No run finished, so no optimizer and no width can be named."
    if best is None:
        if len(main) == 1:
            return f"{_accuracy(main.iloc[0])} Nothing was held out for validation or to compare it with, so nothing is chosen."
        return (
            f"No validation accuracy is known of the {len(main)} configurations, and the test split is not for choosing: no best "
            "optimizer or width is named."
        )
    row = main[main.index == best].iloc[0]
    if len(main) == 1:
        return f"{_accuracy(row)} It is the only configuration, so nothing is chosen."
    lead = f"{row['label']} has the highest mean validation accuracy, {percent(row['validation'])}, of {len(main)} configurations."
    return " ".join([lead, _accuracy(row, "It"), *_standing(best, judged)])


def _accuracy(row: pd.Series, subject: str = "") -> str:
    ends = (row["test_accuracy_low"], row["test_accuracy_high"])
    seeds = plural(int(row["n"]), "seed")
    interval = seeds + ", so no interval"
    if not pd.isna(ends[0]):
        interval = f"95 % interval {span(*ends)}, {seeds}"
    return f"{subject or row['label']} classifies {percent(row['test_accuracy_mean'])} of the test images correctly ({interval})."


def _standing(best: str, judged: pd.DataFrame) -> list[str]:
    """What the declared contrasts of `best` say of its test accuracy."""
    rows = judged[judged["figure"].eq("test_accuracy")]
    groups: dict[str, list[str]] = {"more": [], "less": [], "equivalent": [], "open": []}
    needed = []
    for _, row in rows[rows["a_configuration"].eq(best) | rows["b_configuration"].eq(best)].iterrows():
        first = row["a_configuration"] == best
        other = row["b"] if first else row["a"]
        if row["verdict"] == Kind.MORE_ACCURATE:
            groups["more" if (row["difference"] > 0) == first else "less"].append(other)
        else:
            groups["equivalent" if row["verdict"] == Kind.EQUIVALENT else "open"].append(other)
            if row["verdict"] != Kind.EQUIVALENT:
                needed.append(row["more_seeds"])
    if not any(groups.values()):
        return []
    parts = {
        "more": "shown to be more accurate than",
        "less": "shown to be less accurate than",
        "equivalent": f"equivalent within ± {FIGURES['test_accuracy'].declared(_margin(rows))} to",
    }
    said = [f"{words} {_named(groups[name])}" for name, words in parts.items() if groups[name]]
    sentences = [f"On the test split it is {listed(said)}."] if said else []
    if groups["open"]:
        sentences.append(f"No difference from {_named(groups['open'])} is shown{_still_needed(needed, rows)}.")
    return sentences


def _margin(rows: pd.DataFrame) -> float:
    return float(rows["margin"].iloc[0])


def _named(labels: list[str]) -> str:
    """Labels have commas of their own."""
    return "; ".join(labels)


def overfits(table: pd.DataFrame, judged: pd.DataFrame, declared: Declaration) -> str:
    """Who overfits more, by the gap in accuracy."""
    main = main_dataset(table)
    if main.empty:
        return "No run finished, so nothing is known of overfitting."
    rows = judged[judged["figure"].eq(OVERFITTING) & judged["dataset"].isin(main["dataset"])]
    said = [_question(name, rows[rows["contrast"].eq(name)], declared) for name in (OPTIMIZERS, WIDTHS)]
    if len(main) == 1:
        only = main.iloc[0]
        return f"The overfitting gap of {only['label']} is {_gap(only)}; there is none to compare it with."
    if not any(said):
        said = [
            "No declared contrast can be formed of these configurations, so none is said to overfit more than another."
        ]
    largest = main.sort_values(f"{OVERFITTING}_mean", ascending=False).iloc[0]
    said.append(
        f"The largest gap is that of {largest['label']}, {_gap(largest)}; a larger gap alone may only mean that a network has "
        "fitted further."
    )
    return " ".join(sentence for sentence in said if sentence)


@dataclass(frozen=True)
class Headline:
    """Who overfits more, in one sentence: what is said, and what it rests on."""

    said: str
    grounds: str


def headline(table: pd.DataFrame, judged: pd.DataFrame, declared: Declaration) -> Headline:
    """The answer of `overfits`, as short as a claim or the lack of one can be said."""
    main = main_dataset(table)
    if main.empty:
        return Headline("Nothing is known of overfitting", "no run finished")
    if len(main) == 1:
        return Headline(f"Its overfitting gap is {_gap(main.iloc[0])}", "there is none to compare it with")
    rows = judged[judged["figure"].eq(OVERFITTING) & judged["dataset"].isin(main["dataset"])]
    if rows.empty:
        return Headline("None is said to overfit more than another", "no declared contrast can be formed")
    claims = _claims(rows)
    contrasts, fewest, most = plural(len(rows), "declared contrast"), int(rows["n"].min()), int(rows["n"].max())
    if claims:
        first = "; ".join(f"{a} overfits more than {b}" for a, b in claims[:2])
        more = f"; and {plural(len(claims) - 2, 'more such pair')}" if len(claims) > 2 else ""
        seeds = int(rows.loc[rows["verdict"].eq(Kind.OVERFITS_MORE), "n"].min())
        strength = "confirmed" if seeds >= declared.seeds_to_confirm else "exploratory"
        grounds = f"at equal training loss too ({len(claims)} of {contrasts}, {plural(seeds, 'seed')}, {strength})"
        return Headline(first + more, grounds)
    if most < declared.seeds_to_explore:
        takes = f"{plural(most, 'seed')} in common carry no claim, it takes {declared.seeds_to_explore}"
        return Headline("Who overfits more is not known", takes)
    compared = set(rows["contrast"])
    nobody = {
        frozenset({OPTIMIZERS}): "No optimizer is shown to overfit more than the best at its width",
        frozenset({WIDTHS}): "No width is shown to overfit more than the next",
    }.get(frozenset(compared), "No optimizer and no width is shown to overfit more than another")
    return Headline(nobody, _none_of(len(rows), fewest, most))


def _none_of(contrasts: int, fewest: int, most: int) -> str:
    seeds = plural(most, "seed") if fewest == most else f"{fewest} to {plural(most, 'seed')}"
    if contrasts == 1:
        return f"the one declared contrast does not carry that claim ({seeds})"
    return f"none of {plural(contrasts, 'declared contrast')} carries that claim ({seeds})"


def _claims(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Who overfits more than whom, by the verdicts."""
    claims = rows[rows["verdict"].eq(Kind.OVERFITS_MORE)]
    return [(r["a"], r["b"]) if r["difference"] > 0 else (r["b"], r["a"]) for _, r in claims.iterrows()]


def _gap(row: pd.Series) -> str:
    low, high = row[f"{OVERFITTING}_low"], row[f"{OVERFITTING}_high"]
    interval = "" if pd.isna(low) else f"95 % interval {span(low, high)}, "
    return f"{FIGURES[OVERFITTING].size(row[f'{OVERFITTING}_mean'])} ({interval}{plural(int(row['n']), 'seed')})"


def _question(name: str, rows: pd.DataFrame, declared: Declaration) -> str:
    if rows.empty:
        return ""
    most = int(rows["n"].max())
    if most < declared.seeds_to_explore:
        about = "optimizers" if name == OPTIMIZERS else "widths"
        return f"{plural(most, 'seed')} in common carry no claim on which of two {about} overfits more."
    claims = rows[rows["verdict"].eq(Kind.OVERFITS_MORE)]
    if len(claims):
        said = "; ".join(f"{a} overfits more than {b}" for a, b in _claims(rows))
        seeds = int(claims["n"].min())
        strength = "confirmed" if seeds >= declared.seeds_to_confirm else "exploratory"
        lead = f"{said} ({plural(seeds, 'seed')}, {strength})."
    elif name == OPTIMIZERS:
        lead = "At equal width no optimizer is shown to overfit more than the best one there, nor less."
    else:
        lead = "No width is shown to overfit more than the next, nor less."
    return f"{lead} {_counted(rows, len(claims))}"


def _counted(rows: pd.DataFrame, claims: int) -> str:
    """Of how many contrasts, and what became of the others."""
    equivalent = int(rows["verdict"].eq(Kind.EQUIVALENT).sum())
    rest = rows[rows["verdict"].eq(Kind.NO_DIFFERENCE)]
    different = rest[~rest["lacks"].str.contains(f"{Lack.SEEDS}|{Lack.SIGNIFICANCE}|{Lack.SIZE}|{Lack.DECLARATION}")]
    unmatched = int(different["matched_n"].fillna(0).lt(2).sum())
    undecided = len(rest) - len(different)
    compared = len(different) - unmatched
    margin = f"± {FIGURES[OVERFITTING].declared(_margin(rows))}"
    parts = {
        f"{claims} {_verb(claims, 'does', 'do')}": claims,
        f"{equivalent} {_verb(equivalent, 'is', 'are')} equivalent within {margin}": equivalent,
        f"{compared} {_verb(compared, 'differs', 'differ')} in the gap, but no difference is shown at equal training loss, or "
        "the larger gap is on the side that is better on the test split": compared,
        f"{unmatched} {_verb(unmatched, 'differs', 'differ')} in the gap and could not be compared at equal training loss": unmatched,
        f"{undecided} {_verb(undecided, 'is', 'are')} undecided": undecided,
    }
    more = _still_needed(rest.loc[~rest.index.isin(different.index), "more_seeds"].tolist(), rows)
    return f"Of {plural(len(rows), 'contrast')} {listed([words for words, count in parts.items() if count])}{more}."


def _still_needed(needed: list[float], rows: pd.DataFrame) -> str:
    """` (about 12 to 40 more seeds would find …)`, of those of which a number is known; nothing where no number is."""
    known = [more for more in needed if math.isfinite(more)]
    if not known:
        return " (not decidable by seeds)" if any(math.isinf(more) for more in needed) else ""
    low, high = min(known), max(known)
    span = f"about {low:,.0f}" + (f" to {high:,.0f}" if high > low else "")
    some = f"for {len(known)} of them " if len(known) < len(needed) else ""
    settled = decide(str(rows["figure"].iloc[0]), float(rows["effect_to_find"].iloc[0]))
    return f" ({some}{span} more {'seed' if span == 'about 1' else 'seeds'} would {settled})"


def _verb(count: int, singular: str, plural_form: str) -> str:
    return singular if count == 1 else plural_form
