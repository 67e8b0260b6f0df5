"""Choosing a learning rate on the validation split, with the same number of rates for each optimizer.

Rates are held as decades around the optimizer's default: 0 is the default, 1 ten times as much.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.statistics import paired, summary
from pipeline.statistics.declaration import Declaration
from pipeline.statistics.verdicts import Kind, verdict
from pipeline.training.result import FINISHED, RunResult

DEFAULT, TUNED = "default", "tuned"
COMPARED = (summary.RANKING, "test_accuracy", "gap_accuracy")
"""Metrics compared: columns of `summary.tidy`."""
CLAIMED = "test_accuracy"
"""The only metric with a verdict; not the validation accuracy, which made the choice."""


def accuracy(result: RunResult) -> float:
    """The highest validation accuracy on its curve, 0 where it diverged. At the end, too low a rate would have overfitted least."""
    return result.metrics["best/val_accuracy"] if result.status == FINISHED else 0.0


def best(scores: Mapping[float, float]) -> float:
    """Return the decade with the highest score; ties go to the one nearest the default, then to the lower."""
    return max(scores, key=lambda decade: (scores[decade], -abs(decade), -decade))


def at_edge(decades: Sequence[float], decade: float) -> bool:
    return decade in (min(decades), max(decades))


def next_decade(scores: Mapping[float, float], step: float) -> float:
    """Return the next decade to try: `step` beyond the edge if the best is there, else the middle of its wider gap.

    If both gaps are equally wide, the one towards the better neighbour, then the lower one.
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
    """One optimizer: the rates tried, in order, the chosen rate, and its final runs."""

    optimizer: str
    rates: Mapping[float, float]
    """The learning rate of each decade."""
    tried: Mapping[float, Sequence[RunResult]]
    """The runs used to choose, by decade, including diverged ones."""
    first: int
    """How many decades were tried before any result was known."""
    default: Sequence[RunResult]
    tuned: Sequence[RunResult]

    @property
    def chosen(self) -> float:
        return best(scores(self.tried))

    @property
    def beyond(self) -> int:
        """Number of rates tried outside the range of the earlier ones."""
        order = list(self.tried)
        return sum(
            not min(order[:place]) < order[place] < max(order[:place]) for place in range(self.first, len(order))
        )


def scores(tried: Mapping[float, Sequence[RunResult]]) -> dict[float, float]:
    """Return the mean accuracy over seeds of each decade."""
    return {decade: float(np.mean([accuracy(run) for run in runs])) for decade, runs in tried.items()}


def rates(tunings: Sequence[Tuning]) -> pd.DataFrame:
    """A row per optimizer, rate and seed that took part in choosing, with the validation `accuracy` as it counted."""
    columns = ["optimizer", "learning_rate", "decade", "default", "chosen", "seed", "status", "val_accuracy"]
    rows = [
        (own.optimizer, own.rates[at], at, at == 0, at == own.chosen, run.job.seed, run.status, accuracy(run))
        for own in tunings
        for at in sorted(own.tried)
        for run in own.tried[at]
    ]
    return pd.DataFrame(rows, columns=columns)


def side_by_side(tunings: Sequence[Tuning], declared: Declaration) -> pd.DataFrame:
    """A row per optimizer: what was spent on it, default and tuned with their intervals, and what tuning changed.

    `rates` were tried, `beyond` of them beyond an edge of those before, in `runs`, of which some `diverged`; the best lies
    `at_edge` where the budget was spent before it lay inside. Then the columns of `compared`.
    """
    rows = []
    for own in tunings:
        runs = [run for runs in own.tried.values() for run in runs]
        spent = {"rates": len(own.tried), "beyond": own.beyond, "at_edge": at_edge(list(own.tried), own.chosen)}
        lost = {"runs": len(runs), "diverged": sum(run.status != FINISHED for run in runs)}
        rates = {"default_rate": own.rates[0.0], "tuned_rate": own.rates[own.chosen]}
        rows.append({"optimizer": own.optimizer, **rates, **spent, **lost})
    default, tuned = ([run for tuning in tunings for run in getattr(tuning, which)] for which in (DEFAULT, TUNED))
    return pd.DataFrame(rows).merge(compared(default, tuned, declared), on="optimizer")


def compared(default: Sequence[RunResult], tuned: Sequence[RunResult], declared: Declaration) -> pd.DataFrame:
    """A row per optimizer: default and tuned with their intervals, and what tuning changed, paired by seed.

    Columns `<default or tuned>_n`, `<default or tuned>_<metric>_<mean, low, high>`, `difference_<metric>_<mean, low,
    high>` (tuned minus default; shares) over `pairs` seeds, `p` and `holm` of the paired t test on the test accuracy,
    corrected for the number of optimizers, and the `verdict`, naming the side that is more accurate.
    """
    runs = summary.tidy({DEFAULT: default, TUNED: tuned})
    runs["configuration"] = runs["optimizer"] + " " + runs["experiment"]
    finished = runs[runs["status"].eq(FINISHED)]
    means = summary.intervals(finished, ["configuration"], COMPARED).set_index("configuration")
    rows, differences = [], []
    order = list(dict.fromkeys(runs["optimizer"]))
    for optimizer in order:
        row: dict[str, object] = {"optimizer": optimizer}
        for which in (DEFAULT, TUNED):
            side = f"{optimizer} {which}"
            row[f"{which}_n"] = int(finished["configuration"].eq(side).sum())
            columns = [f"{metric}_{part}" for metric in COMPARED for part in ("mean", "low", "high")]
            row |= {f"{which}_{column}": means[column].get(side, math.nan) for column in columns}
        a, b, _ = paired.pairs(runs, f"{optimizer} {TUNED}", f"{optimizer} {DEFAULT}")
        used = declared.looks(len(a)) or len(a)
        differences += [(a[metric] - b[metric]).to_numpy(float)[:used] for metric in COMPARED]
        rows.append(row | {"pairs": used})
    metrics = list(COMPARED) * len(order)
    margins = pd.Series(dict(declared.margin)).reindex(metrics).to_numpy(float)
    tested = paired.within_bounds(paired.described(differences, margins, declared), metrics)
    table = pd.DataFrame(rows)
    for place, metric in enumerate(COMPARED):
        for part, column in (("mean", "difference"), ("low", "low"), ("high", "high")):
            table[f"difference_{metric}_{part}"] = tested[column].to_numpy()[place :: len(COMPARED)]
    return _with_verdict(table, tested[[metric == CLAIMED for metric in metrics]], declared)


def _with_verdict(table: pd.DataFrame, tested: pd.DataFrame, declared: Declaration) -> pd.DataFrame:
    p = tested["p_t"].to_numpy(float)
    holm, equivalent = paired.holm(p), paired.holm(tested["p_equivalent"].to_numpy(float))
    margin = declared.margin[CLAIMED]
    kinds = [
        verdict(n, difference, adjusted, equal, margin, declared).kind
        for n, difference, adjusted, equal in zip(table["pairs"], tested["difference"], holm, equivalent, strict=True)
    ]
    better = {Kind.LARGER: f"{TUNED} more accurate", Kind.SMALLER: f"{DEFAULT} more accurate"}
    return table.assign(p=p, holm=holm, verdict=[better.get(kind, str(kind)) for kind in kinds])
