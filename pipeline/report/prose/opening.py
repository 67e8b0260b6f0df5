"""The title, lead and headline of a report, and the last line of the command."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from pipeline.cli.formatting import listed, plural
from pipeline.report.evidence import Evidence
from pipeline.training.result import FINISHED

COUNTS = ("None", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")


def title(evidence: Evidence) -> str:
    """The `question` of a single comparison if it ends with a question mark; else the project's."""
    asked = [experiment for _, experiment in evidence.questions if experiment.endswith("?")]
    return asked[0] if asked and len(evidence.questions) == 1 else "Which optimizer, which width, and who overfits?"


def lead(evidence: Evidence) -> str:
    """What these runs can show, given their seeds."""
    if not evidence.questions:
        how = listed([f"{count} {status}" for status, count in evidence.counts.items() if count])
        lost = sum(evidence.counts.values())
        none = "The only run did not finish" if lost == 1 else f"None of {lost:,} runs finished"
        return f"**{none}** ({how}), so there is nothing to compare. Each run is listed below with the command that trains it again."
    declared, counts = evidence.declared, evidence.main.loc[evidence.main["n"] > 0, "n"]
    fewest, most = int(counts.min()), int(counts.max())
    seeds = plural(most, "seed") if fewest == most else f"{fewest} to {most} seeds"
    with_seeds = f"{seeds} per configuration: "
    if fewest < declared.seeds_to_explore:
        takes = f"It takes {declared.seeds_to_explore} seeds to explore a difference."
        return f"{with_seeds}**a smoke test, no claim** about which is better. {takes}"
    if fewest < declared.seeds_to_confirm:
        return f"{with_seeds}differences are explored. It takes {declared.seeds_to_confirm} seeds to confirm one."
    return f"{with_seeds}enough to confirm a difference."


def tie(table: pd.DataFrame, ranking: str) -> str:
    """The headline if several configurations share first place; empty if only one is there."""
    tied = int(table["place"].eq(1).sum())
    if tied < 2:
        return ""
    count = "All" if tied == int((table["n"] > 0).sum()) else COUNTS[tied] if tied < len(COUNTS) else str(tied)
    split = "validation" if table[f"{ranking}_mean"].notna().any() else "test"
    metric = ranking.partition("_")[2].replace("_", " ")
    names = table.loc[table["place"].eq(1), "label"]
    heads, tails = zip(*(name.split(", ", 1) for name in names), strict=True)
    who = (
        f"{listed(heads)}, each {tails[0]}" if len({*tails}) == 1 else listed(list(names)) if tied < len(COUNTS) else ""
    )
    return f"{count} are tied for first place, since their intervals of {split} {metric} overlap{who and ': '}{who}"


def closing(evidence: Evidence, page: Path, experiment: str | None = None) -> str:
    """The last line of the command. `experiment`: the DVC experiment whose temporary folder holds `page`."""
    finished = evidence.counts[FINISHED]
    lost = sum(evidence.counts.values()) - finished
    what = f"{plural(finished, 'finished run')}{f', {lost} lost' if lost else ''}"
    if experiment:
        return f"{what}: the report is in experiment {experiment}; `dvc exp apply {experiment}` brings it here"
    return f"{what}: the report is {page}"
