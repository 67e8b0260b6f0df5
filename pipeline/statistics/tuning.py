"""Choosing a learning rate on the validation split, with the same number of rates for each optimizer.

Rates are held as decades around the optimizer's default: 0 is the default, 1 ten times as much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.statistics import paired, summary
from pipeline.statistics.declaration import Declaration
from pipeline.statistics.design import with_identity
from pipeline.statistics.verdicts import Grounds, Kind, verdict
from pipeline.training.result import FINISHED, RunResult

DEFAULT, TUNED = "default", "tuned"

COMPARED = ("best_val_accuracy", "test_accuracy", "gap_accuracy")
"""What is set side by side: columns of a run's row (`summary.tidy`)."""

CLAIMED = "test_accuracy"
"""The one figure of which a verdict is given; the choice is made on the validation split, so none is due there."""


def accuracy(result: RunResult) -> float:
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


@dataclass(frozen=True)
class Tuning:
    """One optimizer: what was tried of it in that order, what was chosen, and its final runs."""

    optimizer: str
    rates: Mapping[float, float]
    """The learning rate of each decade."""
    tried: Mapping[float, Sequence[RunResult]]
    """The runs that chose, by decade, those that diverged among them."""
    first: int
    """How many of them were tried before anything was known."""
    default: Sequence[RunResult]
    tuned: Sequence[RunResult]

    @property
    def scores(self) -> dict[float, float]:
        return scores(self.tried)

    @property
    def chosen(self) -> float:
        return best(self.scores)

    @property
    def beyond(self) -> int:
        """How many rates were tried beyond an edge of what had been tried before."""
        order = list(self.tried)
        return sum(
            not min(order[:place]) < order[place] < max(order[:place]) for place in range(self.first, len(order))
        )

    @property
    def runs(self) -> int:
        return sum(map(len, self.tried.values()))

    @property
    def diverged(self) -> int:
        return sum(run.status != FINISHED for runs in self.tried.values() for run in runs)


def scores(tried: Mapping[float, Sequence[RunResult]]) -> dict[float, float]:
    """The mean over seeds of each decade."""
    return {decade: float(np.mean([accuracy(run) for run in runs])) for decade, runs in tried.items()}


def rates(tunings: Sequence[Tuning]) -> pd.DataFrame:
    """A row per optimizer, rate and seed that took part in choosing, with `accuracy` as it counted."""
    rows = [
        {
            "optimizer": tuning.optimizer,
            "learning_rate": tuning.rates[decade],
            "decade": decade,
            "default": decade == 0,
            "chosen": decade == tuning.chosen,
            "seed": run.job.seed,
            "status": run.status,
            "val_accuracy": accuracy(run),
        }
        for tuning in tunings
        for decade in sorted(tuning.tried)
        for run in tuning.tried[decade]
    ]
    return pd.DataFrame(rows)


def side_by_side(tunings: Sequence[Tuning], declared: Declaration) -> pd.DataFrame:
    """A row per optimizer: what was spent on it, default and tuned with their intervals, and what tuning changed.

    `rates` were tried, `beyond` of them beyond an edge of those before, in `runs`, of which some `diverged`; the best lies
    `at_edge` where the budget was spent before it lay inside. Then the columns of `compared`.
    """
    rows = [
        {
            "optimizer": tuning.optimizer,
            "default_rate": tuning.rates[0.0],
            "tuned_rate": tuning.rates[tuning.chosen],
            "rates": len(tuning.tried),
            "beyond": tuning.beyond,
            "at_edge": at_edge(list(tuning.tried), tuning.chosen),
            "runs": tuning.runs,
            "diverged": tuning.diverged,
        }
        for tuning in tunings
    ]
    default, tuned = ([run for tuning in tunings for run in getattr(tuning, which)] for which in (DEFAULT, TUNED))
    return pd.DataFrame(rows).merge(compared(default, tuned, declared), on="optimizer")


def compared(default: Sequence[RunResult], tuned: Sequence[RunResult], declared: Declaration) -> pd.DataFrame:
    """A row per optimizer: default and tuned with their intervals, and what tuning changed, paired by seed.

    Columns `<default or tuned>_n`, `<default or tuned>_<figure>_<mean, low, high>`, `difference_<figure>_<mean, low,
    high>` (tuned minus default; shares), `p` and `holm` of the declared test on the test accuracy, corrected for the
    number of optimizers, and the `verdict` that conf/comparison.yaml allows, naming the side that is more accurate.
    """
    runs = with_identity(summary.tidy({DEFAULT: default, TUNED: tuned}), [*default, *tuned])
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
        test, row["pairs"] = _differences(runs[runs["optimizer"].eq(optimizer)], declared)
        for figure in COMPARED:
            for part, column in (("mean", "difference"), ("low", "low"), ("high", "high")):
                row[f"difference_{figure}_{part}"] = test.at[figure, column]
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
    table["verdict"] = [_judged(row, declared) for row in grounds]
    return table


def _judged(grounds: Grounds, declared: Declaration) -> str:
    """The kind of verdict, and which side it favours."""
    kind = verdict(grounds, declared).kind
    better = TUNED if grounds.difference > 0 else DEFAULT
    return f"{better} {kind}" if kind is Kind.MORE_ACCURATE else str(kind)


def _differences(runs: pd.DataFrame, declared: Declaration) -> tuple[pd.DataFrame, int]:
    """Tuned minus default of one optimizer by figure (`paired.describe`), and over how many seeds.

    Those that both finished, on the same data, code and numerics: others are no pairs.
    """
    sides = [runs[runs["experiment"].eq(which)].set_index("seed") for which in (TUNED, DEFAULT)]
    first, second = (side["identity"] for side in sides)
    seeds = sorted(seed for seed in first.index.intersection(second.index) if first[seed] == second[seed])
    tuned, default = (side.loc[seeds, list(COMPARED)].to_numpy(float).T for side in sides)
    margins = pd.Series(dict(declared.margin)).reindex(COMPARED).to_numpy(float)
    differences = paired.describe(tuned - default, margins, declared).set_axis(list(COMPARED))
    return paired.within_bounds(differences, COMPARED), len(seeds)
