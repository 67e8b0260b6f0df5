"""Published figures against ours, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.cli.formatting import listed, number, plural, span
from pipeline.statistics.published import Difference, Found, Row, Verdict
from pipeline.training.result import RunResult


def wanted(row: Row) -> str:
    """What the row is held against."""
    if row.over is not None:
        return f"over {row.over:g}"
    if row.lowest:
        return f"{row.lowest} lowest"
    if row.flat is not None:
        return f"within {row.flat:g}"
    if row.peak:
        return f"peak from {row.peak[0]} to {row.peak[1]}"
    return f"{row.low:g} to {row.high:g}{' each' if row.each else ''}"


def ours(found: Found) -> str:
    """`97.90 (96.63 to 99.17) %`; of an order or a shape the means, and the differences that decide it."""
    row, (mean, low, high) = found.row, found.interval
    said = []
    if mean is not None:
        ends = "" if low is None or high is None else f" ({span(low, high, 1, row.digits)})"
        said.append(f"{number(mean, row.digits)}{ends} {row.unit}")
    if found.means:
        means = ", ".join(f"{name}: {number(value, row.digits)}" for name, value in found.means.items())
        said.append(f"{means} {row.unit}")
    if found.differences:
        unit = "points" if row.unit == "%" else row.unit
        differences = (f"{label}: {_spread(row, own)}" for label, own in found.differences.items())
        said.append(f"{', '.join(differences)} {unit}")
    if found.lost and found.verdict != Verdict.LOST:
        said.append(f"{plural(found.lost, 'run')} did not finish")
    return "; ".join(said)


def _spread(row: Row, difference: Difference) -> str:
    ends = span(difference.low, difference.high, 1, row.digits)
    return f"{number(difference.mean, row.digits, signed=True)} ({ends})"


def verdict(found: Found) -> str:
    """The verdict, with what it is about. To beat a floor is no reproduction, which the word says."""
    about = listed(found.about)
    written = {
        Verdict.LOST: "the run did not finish" if found.lost == 1 else f"all {found.lost} runs did not finish",
        Verdict.UNDECIDED: f"not decided by {plural(found.seeds, 'seed')}",
        Verdict.PARTLY_INSIDE: f"{about} of {plural(found.seeds, 'seed')} inside",
        Verdict.OVER: "over the floor (a sanity check)",
        Verdict.OTHERS_LOWER: f"not as published: {about} lower",
        Verdict.PEAK_ELSEWHERE: f"the peak is at {about}",
        Verdict.NO_PEAK: "no peak: it only falls",
    }
    return written.get(found.verdict, str(found.verdict))


def trained_on(results: Sequence[RunResult]) -> str:
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
