"""The table of published figures against ours: a file to compute with, one to read, and a table at the terminal."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.report import terminal
from pipeline.report.prose.published import ours, verdict, wanted
from pipeline.report.tables import markdown_table
from pipeline.statistics.published import Found
from pipeline.storage.find import KEYS

HEAD = ["id", "source", "measure", "published", "band", "ours", "seeds", "verdict", "on"]
NUMBERS = ["low", "high", "mean", "mean_low", "mean_high"]
"""Columns of the CSV file alone, besides the keys: the same stands in words beside them."""
FILE = "published.csv"


def write(found: Sequence[Found], folder: Path) -> None:
    """Write published.csv and published.md."""
    rows: list[list[Any]] = [
        [f.row.id, f.row.source, f.row.measure, f.row.published, wanted(f.row), ours(f), f.seeds, verdict(f), f.on]
        for f in found
    ]
    numbers: list[list[Any]] = [
        [f.row.low if f.row.over is None else f.row.over, f.row.high, *f.interval, " ".join(f.runs)] for f in found
    ]
    folder.mkdir(exist_ok=True)
    with open(folder / FILE, "w", newline="", encoding="utf-8") as file:
        lines = zip([HEAD, *rows], [[*NUMBERS, KEYS], *numbers], strict=True)
        csv.writer(file, lineterminator="\n").writerows([*row, *own] for row, own in lines)
    text = markdown_table([HEAD, *(["" if cell is None else cell for cell in row] for row in rows)])
    (folder / "published.md").write_text("\n".join(text) + "\n", encoding="utf-8")


def show(found: Sequence[Found]) -> None:
    least = {"id": 20, "measure": 8, "band": 10, "ours": 14, "verdict": 10}
    cells = [(f.row.id, f.row.measure, wanted(f.row), ours(f), verdict(f)) for f in found]
    rows = [dict(zip(least, cell, strict=True)) for cell in cells]
    console = terminal.standard_output()
    console.print(terminal.table({name: name for name in least}, rows, console, least))
