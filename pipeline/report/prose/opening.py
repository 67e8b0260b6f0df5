"""How a configuration is called, and the first lines of a report."""

from __future__ import annotations

import pandas as pd

from pipeline.cli.formatting import layers, listed, percent, plural
from pipeline.report.evidence import LEAK, Evidence
from pipeline.statistics import design
from pipeline.statistics.declaration import NETWORK, TRAIN_SIZE
from pipeline.training.result import DIVERGED, FAILED

COUNTS = ("None", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")


def configuration(row: pd.Series) -> str:
    """`adam, width 512`, with the hyper-parameters that it takes to tell it from its like."""
    settings = [word.partition("=") for word in str(row["name"]).split(" ")[1:]]
    shown = [setting(name, _short(value)) for name, _, value in settings]
    return ", ".join([str(row["optimizer"]), network(row), *shown])


def network(row: pd.Series) -> str:
    """`width 512`; beside other networks `dense, width 512`."""
    return f"dense, {layers(row['hidden'])}" if row.get(NETWORK) == "dense" else layers(row["hidden"])


def setting(name: str, value: object) -> str:
    """A value of a configuration in words: `dropout 0.5`, `2,000 samples`, `2 layers`."""
    if name == "depth":
        return plural(int(str(value)), "layer")
    if str(value) in ("True", "False"):
        value = str(value).lower()
    return design.setting(TRAIN_SIZE, int(str(value))) if name.endswith("train_size") else design.setting(name, value)


def _short(value: str) -> str:
    """A long value in six digits, `0.000316228` for `0.00031622776601683794`."""
    try:
        return f"{float(value):g}" if len(value) > 8 else value
    except ValueError:
        return value


def lead(evidence: Evidence) -> str:
    """What these runs can carry."""
    if not evidence.questions:
        ended = {status: evidence.count(status) for status in (DIVERGED, FAILED)}
        how = listed([f"{count} {status}" for status, count in ended.items() if count])
        lost = sum(ended.values())
        none = "The only run did not finish" if lost == 1 else f"None of {lost:,} runs finished"
        return f"**{none}** ({how}), so nothing can be compared. Each run is listed below with the command that trains it again."
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
    """The headline where several configurations of a comparison share the first place; empty where one is alone there."""
    tied = int(table["place"].eq(1).sum())
    if tied < 2:
        return ""
    count = "All" if tied == int((table["n"] > 0).sum()) else COUNTS[tied] if tied < len(COUNTS) else str(tied)
    split = "validation" if table[f"{ranking}_mean"].notna().any() else "test"
    metric = ranking.partition("_")[2].replace("_", " ")
    names = [configuration(row) for _, row in table[table["place"].eq(1)].iterrows()]
    heads, tails = zip(*(name.split(", ", 1) for name in names), strict=True)
    who = f"{listed(heads)}, each {tails[0]}" if len({*tails}) == 1 else listed(names) if tied < len(COUNTS) else ""
    return f"{count} are tied for the first place, since their intervals of {split} {metric} overlap{who and ': '}{who}"


def alarm(evidence: Evidence) -> str:
    """The leak alarm, or nothing."""
    if not evidence.leaks:
        return ""
    named = ", ".join([*evidence.leaks[:5], *(["…"] if len(evidence.leaks) > 5 else [])])
    return (
        f"Leak alarm: {plural(len(evidence.leaks), 'run')} above {percent(LEAK, 1)} test accuracy ({named}). "
        "A plain dense network does not get there without having seen test images in training."
    )
