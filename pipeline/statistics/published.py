"""Published figures against ours: what a source printed, ours with its interval, and whether that agrees.

A figure agrees where the mean over seeds lies in its band. An order or a shape (which optimizer has the lowest loss, a
peak along the width, no difference between widths) is a statement on differences: it is judged by paired differences over
the seeds that all configurations share, with Student's intervals that hold together (Bonferroni, over all differences that
could have been looked at). What they do not tell is undecided, as is all that fewer seeds say than conf/comparison.yaml asks
of a claim.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import yaml

from pipeline.config import rules
from pipeline.statistics import declaration
from pipeline.training.result import RunResult

Pair = tuple[int, int]
Bounds = tuple[float, float]


class Measure(NamedTuple):
    unit: str
    digits: int
    bounds: Bounds
    """The smallest and the largest value that it can have."""
    read: Callable[[RunResult], float]


MEASURES = {
    "test accuracy": Measure("%", 2, (0, 100), lambda run: 100 * run.metrics["test/accuracy"]),
    "training accuracy": Measure("%", 2, (0, 100), lambda run: 100 * run.metrics["train/accuracy"]),
    "test error": Measure("%", 2, (0, 100), lambda run: 100 - 100 * run.metrics["test/accuracy"]),
    "gap": Measure(
        "points", 2, (-100, 100), lambda run: 100 * (run.metrics["train/accuracy"] - run.metrics["test/accuracy"])
    ),
    "training loss": Measure("nats", 4, (0, math.inf), lambda run: run.metrics["train/loss"]),
}


@dataclass(frozen=True)
class Row:
    """What a source published, and what says whether ours agrees: the keys of conf/published.yaml."""

    id: str
    source: str
    runs: tuple[str, ...]
    measure: str
    published: float | None = None
    low: float | None = None
    high: float | None = None
    each: bool = False
    over: float | None = None
    lowest: str | None = None
    flat: float | None = None
    peak: tuple[int, int] | None = None

    @property
    def of(self) -> Measure:
        return MEASURES[self.measure]

    @property
    def configurations(self) -> int:
        """Number of configurations that `runs` expands to."""
        return math.prod(len(override.partition("=")[2].split(",")) for override in self.runs)


def rows() -> list[Row]:
    """All of them, in the order of the file."""
    found = yaml.safe_load((rules.CONF / "published.yaml").read_text(encoding="utf-8"))
    plain: list[Any] = [{key: tuple(v) if isinstance(v, list) else v for key, v in row.items()} for row in found]
    return [Row(**row) for row in plain]


class Verdict(StrEnum):
    """`Found.about` names what a verdict is about."""

    NOT_RUN = "not run"
    LOST = "did not finish"
    NOT_IN_FULL = "not run in full"
    UNDECIDED = "not decided"
    INSIDE = "inside"
    PARTLY_INSIDE = "partly inside"  # where each seed should be: so many are
    OUTSIDE = "outside"
    OVER = "over the floor"
    BELOW = "below the floor"
    AS_PUBLISHED = "as published"
    OTHERS_LOWER = "others lower"  # than the one that should be lowest: which
    FLAT = "flat"
    NOT_FLAT = "not flat"
    PEAK_ELSEWHERE = "peak elsewhere"  # at which widths
    NO_PEAK = "no peak"  # it only falls


FROM_THE_WORST = [
    *(Verdict.BELOW, Verdict.OUTSIDE, Verdict.PARTLY_INSIDE, Verdict.UNDECIDED),
    *(Verdict.OVER, Verdict.INSIDE),
]
"""Verdicts on one figure. Of several configurations each must pass, so the worst verdict is the row's."""


@dataclass(frozen=True)
class Difference:
    """Mean of a paired difference over seeds, with ends that hold for all differences of a row together."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Found:
    """A row of the table, in the unit of its measure."""

    row: Row
    verdict: Verdict
    seeds: int = 0
    """On which the verdict rests."""
    lost: int = 0
    """Runs that did not finish."""
    interval: tuple[float, float, float] = (math.nan, math.nan, math.nan)
    """Mean, low and high of ours, where it is one figure; NaN for what is not known, as the interval of a single seed."""
    means: Mapping[str, float] = field(default_factory=dict)
    differences: Mapping[str, Difference] = field(default_factory=dict)
    """Of an order or a shape: the mean of each optimizer or width, and the differences that decide it: `sgd − adam`."""
    about: tuple[str, ...] = ()
    """What of these the verdict is about."""
    on: str = ""
    """What trained it."""
    runs: tuple[str, ...] = ()
    """The beginnings of their keys."""


def judge(row: Row, results: Sequence[RunResult]) -> Found:
    """Ours beside the published figure. `results` are all runs of the row's configurations, those that were lost among them."""
    finished = [result for result in results if result.finished]
    lost = len(results) - len(finished)
    if not finished:
        return Found(row, Verdict.LOST if lost else Verdict.NOT_RUN, lost=lost)
    groups: dict[str, list[RunResult]] = {}
    for result in finished:
        groups.setdefault(result.job.configuration, []).append(result)
    if len(groups) != row.configurations:
        found = Found(row, Verdict.NOT_IN_FULL)
    elif row.lowest or row.flat is not None or row.peak:
        found = _compared(row, list(groups.values()))
    else:
        each = [_one_metric(row, own) for own in groups.values()]
        found = min(each, key=lambda own: (FROM_THE_WORST.index(own.verdict), own.interval[0]))
    return replace(found, lost=lost)


def _one_metric(row: Row, runs: Sequence[RunResult]) -> Found:
    """The mean over seeds, or each seed, against its band or its floor."""
    from pipeline.statistics.summary import interval  # pandas, which --help need not wait for

    values = np.array([row.of.read(run) for run in runs])
    ours = interval(values.tolist(), row.of.bounds)
    mean, low, high = ours["mean"], ours["low"], ours["high"]
    found = Found(row, Verdict.UNDECIDED, len(values), interval=(mean, low, high))
    if row.over is not None:
        decided = Verdict.OVER if low > row.over else Verdict.BELOW if high < row.over else Verdict.UNDECIDED
        return replace(found, verdict=decided)
    assert row.low is not None
    assert row.high is not None
    inside = (row.low <= values) & (values <= row.high)
    if row.each and not inside.all():
        return replace(found, verdict=Verdict.PARTLY_INSIDE, about=(str(inside.sum()),))
    return replace(found, verdict=Verdict.INSIDE if row.each or row.low <= mean <= row.high else Verdict.OUTSIDE)


def _compared(row: Row, groups: Sequence[Sequence[RunResult]]) -> Found:
    """A verdict on an order or a shape, over the seeds that all configurations have."""
    sides = [{run.job.seed: row.of.read(run) for run in group} for group in groups]
    seeds = sorted(set.intersection(*(set(side) for side in sides)))
    values = np.array([[side[seed] for seed in seeds] for side in sides])
    names = [str(group[0].job.optimizer.name if row.lowest else group[0].job.width) for group in groups]
    if row.peak:
        order = np.argsort([int(name) for name in names])
        names, values = [names[place] for place in order], values[order]
    means = dict(zip(names, values.mean(axis=1).tolist(), strict=True)) if seeds else {}
    found = Found(row, Verdict.UNDECIDED, len(seeds), means=means)
    if len(seeds) < 2:
        return found
    found = (_order if row.lowest else _flat if row.flat is not None else _peak)(found, names, values)
    enough = len(seeds) >= declaration.load().seeds_to_explore
    return found if enough else replace(found, verdict=Verdict.UNDECIDED, about=())


def _differences(row: Row, values: np.ndarray, pairs: Sequence[Pair]) -> dict[Pair, Difference]:
    """First minus second of each pair of rows of `values`, which have a column per seed."""
    from scipy import stats

    from pipeline.statistics.summary import CONFIDENCE

    differences = np.array([values[a] - values[b] for a, b in pairs])
    n, widest = differences.shape[1], row.of.bounds[1] - row.of.bounds[0]
    half = stats.t.isf((1 - CONFIDENCE) / len(pairs) / 2, n - 1) * differences.std(axis=1, ddof=1) / math.sqrt(n)
    means = differences.mean(axis=1)
    ends = [np.clip(end, -widest, widest).tolist() for end in (means - half, means + half)]
    return {pair: Difference(*own) for pair, *own in zip(pairs, means.tolist(), *ends, strict=True)}


def _order(found: Found, names: Sequence[str], values: np.ndarray) -> Found:
    """Each other optimizer against the one that should be lowest."""
    lowest = names.index(str(found.row.lowest))
    pairs = [(other, lowest) for other in range(len(names)) if other != lowest]
    others = {names[other]: own for (other, _), own in _differences(found.row, values, pairs).items()}
    ordered = dict(sorted(others.items(), key=lambda item: item[1].mean))
    lower = tuple(name for name, own in ordered.items() if own.high < 0)
    as_published = all(own.low > 0 for own in others.values())
    verdict = Verdict.OTHERS_LOWER if lower else Verdict.AS_PUBLISHED if as_published else Verdict.UNDECIDED
    labelled = {f"{name} − {names[lowest]}": own for name, own in ordered.items()}
    return replace(found, verdict=verdict, differences=labelled, about=lower)


def _flat(found: Found, names: Sequence[str], values: np.ndarray) -> Found:
    """Every pair within the margin."""
    margin = found.row.flat
    assert margin is not None
    pairs = [(b, a) for a, b in combinations(range(len(names)), 2)]
    differences = _differences(found.row, values, pairs)
    (a, b), largest = max(differences.items(), key=lambda item: abs(item[1].mean))
    flat = all(-margin <= own.low and own.high <= margin for own in differences.values())
    beyond = any(own.low > margin or own.high < -margin for own in differences.values())
    verdict = Verdict.FLAT if flat else Verdict.NOT_FLAT if beyond else Verdict.UNDECIDED
    return replace(found, verdict=verdict, differences={f"{names[a]} − {names[b]}": largest})


def _peak(found: Found, names: Sequence[str], values: np.ndarray) -> Found:
    """A width that errs more than one to its left and one to its right: very narrow networks err the most of all."""
    first, last = found.row.peak or (0, 0)
    both_ways = [pair for a, b in combinations(range(len(names)), 2) for pair in ((a, b), (b, a))]
    # Turned differences are no further ones: Bonferroni's count is that of the pairs.
    one_way = _differences(found.row, values, both_ways[::2])
    over = one_way | {(b, a): Difference(-own.mean, -own.high, -own.low) for (a, b), own in one_way.items()}

    def foot(top: int, places: range) -> Difference:
        """The difference, top minus a width on this side, with the highest lower end."""
        return max((over[top, place] for place in places), key=lambda own: own.low)

    feet = {top: (foot(top, range(top)), foot(top, range(top + 1, len(names)))) for top in range(1, len(names) - 1)}
    inside = [top for top in feet if first <= int(names[top]) <= last]
    shown = [top for top, (left, right) in feet.items() if left.low > 0 and right.low > 0]
    best = max(inside, key=lambda top: min(own.low for own in feet[top]))
    left, right = feet[best]
    labelled = {f"{names[best]} − left": left, f"{names[best]} − right": right}
    if {*shown} & {*inside}:
        return replace(found, verdict=Verdict.AS_PUBLISHED, differences=labelled)
    if shown:
        elsewhere = tuple(names[top] for top in shown)
        return replace(found, verdict=Verdict.PEAK_ELSEWHERE, differences=labelled, about=elsewhere)
    falls = all(over[width, width - 1].high < 0 for width in range(1, len(names)))
    return replace(found, verdict=Verdict.NO_PEAK if falls else Verdict.UNDECIDED, differences=labelled)
