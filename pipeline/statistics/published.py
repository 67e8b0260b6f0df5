"""Published figures against ours: what a source printed, ours with its interval, and whether that agrees.

A figure agrees where the mean over seeds lies in its band. An order or a shape (which optimizer has the lowest loss, a
peak along the width, no difference between widths) is a statement on differences: it is judged by paired differences over
the seeds that all configurations share, with Student's intervals that hold together (Bonferroni, over all differences that
could have been looked at), and what they do not tell is said to be undecided, as is all that fewer seeds say than
conf/comparison.yaml asks of a claim.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import yaml

from pipeline.cli.formatting import number, plural
from pipeline.config import rules
from pipeline.statistics import declaration
from pipeline.training.result import RunResult

Bounds = tuple[float, float]
MEASURES: dict[str, tuple[Callable[[RunResult], float], str, int, Bounds]] = {
    "test accuracy": (lambda run: 100 * run.figures["test/accuracy"], "%", 2, (0, 100)),
    "training accuracy": (lambda run: 100 * run.figures["train/accuracy"], "%", 2, (0, 100)),
    "test error": (lambda run: 100 - 100 * run.figures["test/accuracy"], "%", 2, (0, 100)),
    "gap": (lambda run: 100 * run.figures["overfitting_gap/accuracy"], "points", 2, (-100, 100)),
    "training loss": (lambda run: run.figures["train/loss"], "nats", 4, (0, math.inf)),
}
"""What is read of a run, its unit, the digits it is written with, and the smallest and largest value it can have."""

NOT_RUN, NOT_IN_FULL = "not run", "not run in full"


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
    def unit(self) -> str:
        return MEASURES[self.measure][1]

    def written(self, value: float, *, signed: bool = False) -> str:
        return number(value, MEASURES[self.measure][2], signed=signed)

    @property
    def bounds(self) -> Bounds:
        return MEASURES[self.measure][3]

    @property
    def configurations(self) -> int:
        """How many the words of `runs` mean."""
        return math.prod(len(word.partition("=")[2].split(",")) for word in self.runs)


@dataclass(frozen=True)
class Found:
    """A row of the table: ours in words, the verdict, and the seeds it rests on."""

    row: Row
    seeds: int
    ours: str
    verdict: str
    interval: tuple[float | None, float | None, float | None] = (None, None, None)
    """Mean, low and high of ours, where it is one figure."""
    on: str = ""
    """What trained it."""
    runs: tuple[str, ...] = ()
    """The beginnings of their keys: what `python -m pipeline.compare` makes links of."""


@dataclass(frozen=True)
class Difference:
    """Mean of a paired difference over seeds, with ends that hold for all differences of a row together."""

    mean: float
    low: float
    high: float

    @property
    def over_zero(self) -> bool:
        return self.low > 0

    @property
    def under_zero(self) -> bool:
        return self.high < 0

    def within(self, margin: float) -> bool:
        return -margin <= self.low and self.high <= margin

    def beyond(self, margin: float) -> bool:
        return self.low > margin or self.high < -margin


def rows() -> list[Row]:
    """Those of conf/published.yaml."""

    def row(plain: dict[str, Any]) -> Row:
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()
        }
        return Row(**values)

    return [row(plain) for plain in yaml.safe_load((rules.CONF / "published.yaml").read_text(encoding="utf-8"))]


def wanted(row: Row) -> str:
    """What the row is held against, in words."""
    if row.over is not None:
        return f"over {row.over:g}"
    if row.lowest:
        return f"{row.lowest} lowest"
    if row.flat is not None:
        return f"within {row.flat:g}"
    if row.peak:
        return f"peak from {row.peak[0]} to {row.peak[1]}"
    return f"{row.low:g} to {row.high:g}{' each' if row.each else ''}"


def judge(row: Row, results: Sequence[RunResult]) -> Found:
    """Ours beside the published figure. `results` are all runs of the row's configurations, those that were lost among them."""
    finished = [result for result in results if result.finished]
    lost = len(results) - len(finished)
    if not finished:
        none = f"{'the run' if lost == 1 else f'all {lost} runs'} did not finish"
        return Found(row, 0, "", none if lost else NOT_RUN, on=on(results))
    found = _judge(row, finished)
    if not lost:
        return found
    said = f"{lost} of {plural(len(results), 'run')} did not finish"
    return replace(found, ours="; ".join(filter(None, [found.ours, said])))


def _judge(row: Row, results: Sequence[RunResult]) -> Found:
    from pipeline.statistics.summary import interval  # pandas, which --help need not wait for

    read, trained_on = MEASURES[row.measure][0], on(results)
    groups: dict[str, list[RunResult]] = {}
    for result in results:
        groups.setdefault(result.job.configuration, []).append(result)
    if row.lowest or row.flat is not None or row.peak:
        if len(groups) < row.configurations:
            return Found(row, 0, "", NOT_IN_FULL, on=trained_on)
        return replace(_compared(row, groups), on=trained_on)
    [group] = groups.values()
    values = np.array([read(run) for run in group])
    found, several = interval(values.tolist(), row.bounds), len(values) > 1
    spread = f" ({row.written(found['low'])} to {row.written(found['high'])})" if several else ""
    low, high = (found["low"], found["high"]) if several else (None, None)
    ours = f"{row.written(found['mean'])}{spread} {row.unit}"
    return Found(row, len(values), ours, _verdict(row, found, values), (found["mean"], low, high), trained_on)


def _compared(row: Row, groups: Mapping[str, Sequence[RunResult]]) -> Found:
    """A verdict on an order or a shape, over the seeds that all configurations have."""
    read = MEASURES[row.measure][0]
    sides = [{run.job.seed: read(run) for run in group} for group in groups.values()]
    seeds = sorted(set.intersection(*(set(side) for side in sides)))
    values = np.array([[side[seed] for seed in seeds] for side in sides])
    names = [_called(row, group[0].job) for group in groups.values()]
    if len(seeds) < 2:
        return Found(row, len(seeds), _means(row, names, values) if seeds else "", _undecided(len(seeds)))
    ours, verdict = (_order if row.lowest else _flat if row.flat is not None else _peak)(row, names, values)
    few = len(seeds) < declaration.load().seeds_to_explore
    return Found(row, len(seeds), ours, _undecided(len(seeds)) if few else verdict)


def on(results: Sequence[RunResult]) -> str:
    """The processors, devices and libraries that trained these, each once."""
    told = []
    for run in results:
        numerics, known = run.identity.get("numerics", {}), run.environment
        device = known.get("gpu") if numerics.get("device") == "gpu" else known.get("cpu")
        parts = [str(numerics.get("device", "")).upper(), device or "", *_library(numerics)]
        told.append(" ".join(part for part in parts if part))
    return "; ".join(sorted(set(filter(None, told))))


def _library(numerics: dict[str, Any]) -> list[str]:
    if "backend" not in numerics:
        return []
    precision = numerics.get("precision", "float32")
    return [f"({numerics['backend']} {numerics.get('backend_version', '')}, {precision})"]


def _called(row: Row, job: Any) -> str:
    return str(job.optimizer.name if row.lowest else job.width)


def _verdict(row: Row, found: dict[str, float], values: np.ndarray) -> str:
    """Of a row that is about one figure: the mean over seeds, or each seed, against its band or its floor."""
    if row.over is not None:
        if found["low"] > row.over:
            return "over the floor"
        return "below the floor" if found["high"] < row.over else _undecided(len(values))
    assert row.low is not None
    assert row.high is not None
    if row.each:
        inside = int(((row.low <= values) & (values <= row.high)).sum())
        return "inside" if inside == len(values) else f"{inside} of {len(values)} seeds inside"
    return "inside" if row.low <= found["mean"] <= row.high else "outside"


def _undecided(seeds: int) -> str:
    return f"not decided by {plural(seeds, 'seed')}"


def _differences(row: Row, values: np.ndarray, pairs: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Difference]:
    """Second minus first of each pair of rows of `values`, which have a column per seed."""
    from scipy import stats

    from pipeline.statistics.paired import NO_SCATTER
    from pipeline.statistics.summary import CONFIDENCE

    differences = np.array([values[b] - values[a] for a, b in pairs])
    scattered = np.ptp(differences, axis=1) > NO_SCATTER
    # Without scatter nothing is known of it: no interval, and no verdict.
    low = high = np.full(len(pairs), np.nan)
    if scattered.any():
        ends = stats.ttest_1samp(differences[scattered], 0, axis=1).confidence_interval(
            1 - (1 - CONFIDENCE) / len(pairs)
        )
        low, high = low.copy(), high.copy()
        widest = row.bounds[1] - row.bounds[0]
        low[scattered], high[scattered] = (np.clip(end, -widest, widest) for end in (ends.low, ends.high))
    found = zip(differences.mean(axis=1).tolist(), low.tolist(), high.tolist(), strict=True)
    return {pair: Difference(*difference) for pair, difference in zip(pairs, found, strict=True)}


def _spread(row: Row, found: Difference) -> str:
    ends = "" if math.isnan(found.low) else f" ({row.written(found.low)} to {row.written(found.high)})"
    return f"{row.written(found.mean, signed=True)}{ends}"


def _order(row: Row, names: Sequence[str], values: np.ndarray) -> tuple[str, str]:
    """The named optimizer against each other one."""
    place = names.index(str(row.lowest))
    found = _differences(row, values, [(place, other) for other in range(len(names)) if other != place])
    others = {names[other]: difference for (_, other), difference in found.items()}
    ordered = sorted(others.items(), key=lambda difference: difference[1].mean)
    ours = ", ".join(
        [
            f"{row.lowest} {row.written(float(values[place].mean()))}",
            *(f"{name} {_spread(row, difference)}" for name, difference in ordered),
        ]
    )
    lower = [name for name, difference in ordered if difference.under_zero]
    if lower:
        verdict = f"not as published: {' and '.join(lower)} lower"
    elif all(difference.over_zero for difference in others.values()):
        verdict = "as published"
    else:
        verdict = _undecided(values.shape[1])
    return f"{ours} {row.unit}", verdict


def _means(row: Row, names: Sequence[str], values: np.ndarray) -> str:
    means = values.mean(axis=1)
    return ", ".join(f"{name}: {row.written(mean)}" for name, mean in zip(names, means, strict=True)) + f" {row.unit}"


def _flat(row: Row, names: Sequence[str], values: np.ndarray) -> tuple[str, str]:
    """Every pair within the margin."""
    assert row.flat is not None
    found = _differences(row, values, list(combinations(range(len(names)), 2)))
    (a, b), largest = max(found.items(), key=lambda difference: abs(difference[1].mean))
    ours = f"{_means(row, names, values)}; {names[b]} − {names[a]}: {_spread(row, largest)} points"
    if all(difference.within(row.flat) for difference in found.values()):
        return ours, "flat"
    return ours, "not flat" if any(difference.beyond(row.flat) for difference in found.values()) else _undecided(
        values.shape[1]
    )


def _peak(row: Row, names: Sequence[str], values: np.ndarray) -> tuple[str, str]:
    """A width that errs more than one to its left and one to its right: very narrow networks err the most of all."""
    assert row.peak is not None
    order = np.argsort([int(name) for name in names])
    widths, values = [int(names[place]) for place in order], values[order]
    found = _differences(row, values, list(combinations(range(len(widths)), 2)))

    def over(top: int, other: int) -> Difference:
        """How much more the one errs than the other."""
        if other < top:
            return found[other, top]
        turned = found[top, other]
        return Difference(-turned.mean, -turned.high, -turned.low)

    def foot(top: int, places: range) -> Difference:
        """The top minus what it is most surely over on one side."""
        return max(
            (over(top, place) for place in places), key=lambda difference: np.nan_to_num(difference.low, nan=-math.inf)
        )

    feet = {top: (foot(top, range(top)), foot(top, range(top + 1, len(widths)))) for top in range(1, len(widths) - 1)}
    inside = [top for top in feet if row.peak[0] <= widths[top] <= row.peak[1]]
    shown = [top for top, both in feet.items() if all(side.over_zero for side in both)]
    best = max(inside, key=lambda top: min(np.nan_to_num(side.low, nan=-math.inf) for side in feet[top]))
    left, right = (_spread(row, side) for side in feet[best])
    ours = f"{_means(row, [str(width) for width in widths], values)}; {widths[best]} − left: {left}, − right: {right} points"
    if set(shown) & set(inside):
        return ours, "as published"
    if shown:
        return ours, f"the peak is at {' and '.join(str(widths[top]) for top in shown)}"
    steps = range(1, len(widths))
    falls = all(over(width, width - 1).under_zero for width in steps)
    return ours, "no peak: it only falls" if falls else _undecided(values.shape[1])
