"""The comparison with published results as published.csv, published.md and a table at the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.report import terminal
from pipeline.report.prose.published import ours, verdict, wanted
from pipeline.report.tables import markdown_table, save
from pipeline.statistics.published import Found
from pipeline.storage.find import KEYS

SHOWN = {"id": 20, "measure": 8, "band": 10, "ours": 14, "verdict": 10}
"""Columns at the terminal, and the least width of each."""
FILE = "published.csv"


def table(found: Sequence[Found]) -> pd.DataFrame:
    """A row per published result: texts, then numbers from `low` on, and the keys of its runs."""
    rows = [
        {
            "id": own.row.id,
            "source": own.row.source,
            "measure": own.row.measure,
            "published": own.row.published,
            "band": wanted(own.row),
            "ours": ours(own),
            "seeds": own.seeds,
            "verdict": verdict(own),
            "on": own.on,
            "low": own.row.low if own.row.over is None else own.row.over,
            "high": own.row.high,
            **dict(zip(("mean", "mean_low", "mean_high"), own.interval, strict=True)),
            KEYS: " ".join(own.runs),
        }
        for own in found
    ]
    return pd.DataFrame(rows, dtype=object)


def write(found: Sequence[Found], folder: Path) -> None:
    """Write published.csv and published.md."""
    frame = table(found)
    labels = frame.loc[:, :"on"]
    text = markdown_table([list(labels), *labels.where(labels.notna(), "").to_numpy()])
    save(folder, {FILE: frame.to_csv(index=False, lineterminator="\n"), "published.md": "\n".join(text) + "\n"})


def show(found: Sequence[Found]) -> None:
    console = terminal.standard_output()
    console.print(terminal.table(table(found)[list(SHOWN)], console, SHOWN))
