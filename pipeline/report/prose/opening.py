"""The first sentences of a report, and how a configuration is called. `**…**` marks what a sentence is about, as in Markdown."""

from __future__ import annotations

import pandas as pd

from pipeline.cli.formatting import layers, listed, percent, plural, points, span
from pipeline.report.evidence import LEAK, Evidence
from pipeline.report.prose.answers import headline
from pipeline.training.result import DIVERGED, FAILED


def configuration(row: pd.Series) -> str:
    """`adam, width 512`, with the hyper-parameters that it takes to tell it from its like."""
    settings = [word.partition("=") for word in str(row["name"]).split(" ")[1:]]
    shown = [f"{name.replace('_', ' ')} {_short(value)}" for name, _, value in settings]
    return ", ".join([str(row["optimizer"]), layers(row["hidden"]), *shown])


def _short(value: str) -> str:
    """A long value in six digits, `0.000316228` for `0.00031622776601683794`."""
    try:
        return f"{float(value):g}" if len(value) > 8 else value
    except ValueError:
        return value


def answer(evidence: Evidence) -> list[str]:
    """Two sentences: which configuration is the best, and who is shown to overfit more."""
    if not evidence.questions:
        diverged, failed = evidence.count(DIVERGED), evidence.count(FAILED)
        ended = [f"{count} {status}" for count, status in ((diverged, DIVERGED), (failed, FAILED)) if count]
        none = (
            "The only run did not finish" if diverged + failed == 1 else f"None of {diverged + failed:,} runs finished"
        )
        return [
            f"**{none}** ({listed(ended)}).",
            "So no optimizer and no width can be named, and nothing is known of overfitting.",
        ]
    best, main = evidence.best, evidence.main
    finished = int((main["n"] > 0).sum())
    among = f"Among {finished} configurations, " if finished > 1 else ""
    name = f"**{configuration(best)}**"
    test = f"**{percent(best['test_accuracy_mean'])}** of the test images"
    if evidence.chosen_on_validation:
        lead = (
            f"is the most accurate on the validation samples ({percent(best['best_val_accuracy_mean'])})"
            if among
            else "was trained"
        )
        first = f"{among}{name} {lead}; it classifies {test} correctly{_interval(best, 'test_accuracy')}."
    else:
        none = "no validation samples are held out, so nothing is selected; " if among else ""
        first = f"{among}{none}{name} classifies {test} correctly{_interval(best, 'test_accuracy')}."
    found = evidence.analysis
    who = headline(found.configurations, found.contrasts, found.declared)
    return [first, f"**{who.said}**: {who.grounds}."]


def gaps(evidence: Evidence) -> str:
    """How large the best configuration's gap is, and between which others it lies."""
    best, gap = evidence.best, evidence.by_gap()
    own = f"The overfitting gap of {_gap_of(best)}"
    largest, smallest = gap.iloc[0], gap.iloc[-1]
    if best.name == largest.name:
        return f"{own}, the largest measured; the smallest, that of {_gap_of(smallest)}."
    if best.name == smallest.name:
        return f"{own}, the smallest measured; the largest, that of {_gap_of(largest)}."
    return f"{own}; the largest, that of {_gap_of(largest)}, the smallest, that of {_gap_of(smallest)}."


def _gap_of(row: pd.Series) -> str:
    return f"{configuration(row)} is {points(row['gap_accuracy_mean'])}{_interval(row, 'gap_accuracy', seeds=False)}"


def _interval(row: pd.Series, figure: str, seeds: bool = True) -> str:
    """The interval in brackets; with the number of seeds, and how it was made, where it stands first."""
    if pd.isna(row[f"{figure}_low"]):
        return " (one seed, so no interval)" if row["n"] == 1 and seeds else ""
    ends = span(row[f"{figure}_low"], row[f"{figure}_high"])
    return f" (95 % interval {ends}, {plural(int(row['n']), 'seed')})" if seeds else f" ({ends})"


def certainty(evidence: Evidence) -> list[str]:
    """Their evidence: the gaps that were measured, and what these seeds can and cannot carry."""
    if not evidence.questions:
        return ["Each run is listed below, with its reason and the command that trains it again."]
    finished = int((evidence.main["n"] > 0).sum())
    said = [gaps(evidence)] if finished > 1 else []
    fewest = evidence.seeds[0]
    if finished > 1 and evidence.ties > 1:
        measure = "validation" if evidence.chosen_on_validation else "test"
        tied = "All" if evidence.ties == finished else str(evidence.ties)
        overlap = f"their intervals of {measure} accuracy overlap"
        said.append(f"{tied} of the {finished} configurations share the first place: {overlap}.")
    with_seeds = f"With {seeds(evidence)} per configuration this is "
    if fewest < evidence.declared.seeds_to_explore:
        said.append(f"{with_seeds}**a smoke test**: it carries no claim about which is better, or which overfits more.")
    elif fewest < evidence.declared.seeds_to_confirm:
        confirms = evidence.declared.seeds_to_confirm
        said.append(f"{with_seeds}an exploration: it takes {confirms} seeds to confirm a difference.")
    else:
        said.append(
            f"{with_seeds}enough to confirm a difference, by a paired test; intervals that overlap rule none out."
        )
    if finished > 1:
        said.append("A larger gap may only mean that a network has fitted further in the same epochs.")
    return said


def seeds(evidence: Evidence) -> str:
    """`3 seeds`, or `2 to 3 seeds` where some did not finish."""
    fewest, most = evidence.seeds
    return plural(most, "seed") if fewest == most else f"{fewest} to {most} seeds"


def alarm(evidence: Evidence) -> str:
    """The leak alarm, or nothing."""
    if not evidence.leaks:
        return ""
    named = ", ".join([*evidence.leaks[:5], *(["…"] if len(evidence.leaks) > 5 else [])])
    return (
        f"Leak alarm: {plural(len(evidence.leaks), 'run')} above {percent(LEAK, 1)} test accuracy ({named}). "
        "A plain dense network does not get there without having seen test images in training."
    )
