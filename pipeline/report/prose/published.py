"""The texts of the comparison with published results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple

from pipeline.cli.formatting import listed, number, plural, spread
from pipeline.statistics.published import Found, Row, Verdict
from pipeline.training.result import RunResult


def wanted(row: Row) -> str:
    """The expected result: a band, a floor, an order or a shape."""
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
    """`97.90 (96.63 to 99.17) %`; for an order or a shape, the means and the differences that decide it."""
    row, parts = found.row, []
    if not math.isnan(found.interval[0]):
        parts.append(f"{spread(*found.interval, scale=1, digits=row.of.digits)} {row.of.unit}")
    if found.means:
        means = ", ".join(f"{name}: {number(value, row.of.digits)}" for name, value in found.means.items())
        parts.append(f"{means} {row.of.unit}")
    if found.differences:
        unit = "points" if row.of.unit == "%" else row.of.unit
        differences = {
            label: spread(*astuple(own), scale=1, digits=row.of.digits, signed=True)
            for label, own in found.differences.items()
        }
        parts.append(f"{', '.join(f'{label}: {own}' for label, own in differences.items())} {unit}")
    if found.lost and found.verdict != Verdict.LOST:
        parts.append(f"{plural(found.lost, 'run')} did not finish")
    return "; ".join(parts)


def verdict(found: Found) -> str:
    """The verdict as text. Exceeding a floor is no reproduction, so the text calls it a sanity check."""
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
    """The processors, devices and libraries that trained these runs, each once."""
    found = set()
    for run in results:
        numerics, known = run.identity.get("numerics", {}), run.environment
        device = str(numerics.get("device", ""))
        parts = [device.upper(), known.get("gpu" if device == "gpu" else "cpu", "")]
        if "backend" in numerics:
            version, precision = numerics.get("backend_version", ""), numerics.get("precision", "float32")
            parts.append(f"({numerics['backend']} {version}, {precision})")
        found.add(" ".join(filter(None, parts)))
    return "; ".join(sorted(filter(None, found)))
