"""Choosing a learning rate on the validation split, with the same number of rates for each optimizer.

Rates are held as decades around the optimizer's default: 0 is the default, 1 ten times as much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from pipeline.results.result import FINISHED, Result
from pipeline.statistics import paired, summary
from pipeline.statistics.declaration import Declaration
from pipeline.statistics.verdicts import Grounds, verdict

DEFAULT, TUNED = "default", "tuned"

COMPARED = ("best_val_accuracy", "test_accuracy", "gap_accuracy")
"""What is set side by side: columns of a run's row (`summary.tidy`)."""

CLAIMED = "test_accuracy"
"""The one figure of which a verdict is given; the choice is made on the validation split, so none is due there."""


def accuracy(result: Result) -> float:
    """What a run brings to the choice: its best validation accuracy; 0 where it diverged, as a sweeper is told."""
    return result.figures["best/val_accuracy"] if result.status == FINISHED else 0.0


def best(scores: Mapping[float, float]) -> float:
    """The decade of the highest score; of equal ones that nearest to the default, of equally near ones the lower."""
    return max(scores, key=lambda decade: (scores[decade], -abs(decade), -decade))


def at_edge(decades: Sequence[float], decade: float) -> bool:
    return decade in (min(decades), max(decades))


def next_decade(scores: Mapping[float, float], step: float) -> float:
    """Where to try next: `step` beyond the edge that the best lies at; else the middle of the wider gap beside it.

    Of two gaps of one width that towards the better neighbour, then the lower one.
    """
    places, top = sorted(scores), best(scores)
    if at_edge(places, top):
        return top + step if top == places[-1] else top - step
    here = places.index(top)
    below, above = places[here - 1], places[here + 1]
    upwards = (above - top, scores[above]) > (top - below, scores[below])
    return (top + (above if upwards else below)) / 2


def side_by_side(default: Sequence[Result], tuned: Sequence[Result], declared: Declaration) -> pd.DataFrame:
    """A row per optimizer: default and tuned with their intervals, and what tuning changed, paired by seed.

    Columns `<default or tuned>_n`, `<default or tuned>_<figure>_<mean, low, high>`, `difference_<figure>_<mean, low,
    high>` (tuned minus default; shares), `p` and `holm` of the declared test on the test accuracy, corrected for the
    number of optimizers, and the `verdict` that conf/comparison.yaml allows.
    """
    runs = summary.tidy({DEFAULT: default, TUNED: tuned})
    order = list(dict.fromkeys(runs["optimizer"]))
    runs = runs[runs["status"].eq(FINISHED)]
    means = summary.intervals(runs, ["optimizer", "experiment"], COMPARED).set_index(["optimizer", "experiment"])
    counts = runs.groupby(["optimizer", "experiment"]).size()
    rows, tests = [], []
    for optimizer in order:
        row: dict[str, object] = {"optimizer": optimizer}
        for which in (DEFAULT, TUNED):
            row[f"{which}_n"] = int(counts.get((optimizer, which), 0))
            for figure in COMPARED:
                for part in ("mean", "low", "high"):
                    there = (optimizer, which) in means.index
                    value = means.at[(optimizer, which), f"{figure}_{part}"] if there else float("nan")
                    row[f"{which}_{figure}_{part}"] = value
        test = _differences(runs[runs["optimizer"].eq(optimizer)], declared)
        for figure in COMPARED:
            for part, column in (("mean", "difference"), ("low", "low"), ("high", "high")):
                row[f"difference_{figure}_{part}"] = test.at[figure, column]
        row["pairs"] = int(test.at[CLAIMED, "pairs"])
        rows.append(row)
        tests.append(test.loc[CLAIMED])
    table, tested = pd.DataFrame(rows), pd.DataFrame(tests).reset_index(drop=True)
    table["p"] = tested[paired.claim_column(declared)].astype(float)
    table["holm"] = paired.holm(table["p"].to_numpy(float), len(table))
    equivalent = paired.holm(tested["p_equivalent"].to_numpy(float), len(table))
    grounds = [
        Grounds(
            CLAIMED,
            TUNED,
            DEFAULT,
            row["pairs"],
            row[f"difference_{CLAIMED}_mean"],
            row["holm"],
            equal,
            declared.minimum_effect[CLAIMED],
            declared.margin[CLAIMED],
        )
        for (_, row), equal in zip(table.iterrows(), equivalent, strict=True)
    ]
    table["verdict"] = [str(verdict(one, declared).kind) for one in grounds]
    return table


def _differences(runs: pd.DataFrame, declared: Declaration) -> pd.DataFrame:
    """Tuned minus default of one optimizer by figure, over the seeds that finished with both: `paired.describe`."""
    sides = [runs[runs["experiment"].eq(which)].set_index("seed") for which in (TUNED, DEFAULT)]
    seeds = sorted(set(sides[0].index) & set(sides[1].index))
    tuned, default = (side.loc[seeds, list(COMPARED)].to_numpy(float).T for side in sides)
    margins = pd.Series(dict(declared.margin)).reindex(COMPARED).to_numpy(float)
    return paired.describe(tuned - default, margins, declared).assign(pairs=len(seeds)).set_axis(list(COMPARED))
