"""Tables that other commands leave in the report's folder: what is there appears on the page, and what is not, does not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.report.tuned import SHORT, brief
from pipeline.results.find import KEYS

PUBLISHED = "published.csv"
"""Of `python -m pipeline.figures`."""

BEFORE = "mlflow"
"""What held ids of MLflow in earlier releases: they were those of one database, and lead nowhere."""

NUMBERS = ["low", "high", "mean", "mean_low", "mean_high"]
"""Columns that are for drawing; the same stands in words beside them."""


@dataclass(frozen=True)
class OtherTable:
    """One table, and what the page says of it."""

    file: str
    id: str
    heading: str
    lead: str
    hidden: tuple[str, ...] = ()
    shared: tuple[str, str] | None = None
    """A column that becomes a sentence of the lead where all rows that have it have the same, and that sentence's beginning."""
    columns: tuple[str, ...] = ()
    """Where the page shows the table in brief: its columns there,"""
    brief: Callable[[pd.DataFrame], list[list[str]]] | None = None
    """and what makes their rows of the numbers in the file."""


def _tuned(table: pd.DataFrame) -> list[list[str]]:
    return [[*row, str(hidden)] for row, hidden in zip(brief(table), table["hidden"], strict=True)]


KNOWN = (
    OtherTable(
        PUBLISHED,
        "published",
        "Published figures",
        "Recipes out of the literature, trained here by python -m pipeline.figures: what their authors published, the band in "
        "which a mean of ours should lie, and ours with its 95 % interval over seeds.",
        tuple(NUMBERS),
        ("on", "All of ours were trained on"),
    ),
    OtherTable(
        "tuned.csv",
        "tuned",
        "Tuned against default learning rates",
        "Each optimizer at its default learning rate and at the one that the validation split chooses, by python -m pipeline.tune. "
        "The figures are of other seeds than those that chose; intervals are 95 % over seeds.",
        columns=(*SHORT, "hidden layers"),
        brief=_tuned,
    ),
)


@dataclass(frozen=True)
class Shown:
    """A table that is there."""

    about: OtherTable
    lead: str
    columns: list[str]
    rows: list[list[str]]
    runs: list[list[str]] | None
    """Addresses in the MLflow UI, for each row; None where there are none at all."""
    anchors: list[str]
    """What each row is called on the page."""


def read(folder: Path | None, file: str) -> pd.DataFrame | None:
    """The table of that name as text, or None where there is none that can be read."""
    if folder is None:
        return None
    try:
        table = pd.read_csv(folder / file, dtype=str, keep_default_na=False)
    except (OSError, ValueError):  # pandas' errors of parsing are ValueErrors
        return None
    return table if len(table) else None


def anchor(table: str, name: str) -> str:
    """What a row, by its first cell, is called on the page."""
    return f"{table}-{name}"


def tables(folder: Path | None, link: Callable[[str], str | None]) -> list[Shown]:
    """Every known table that lies in `folder`; `link` gives the address of a run, by the beginning of its key."""
    found = []
    for about in KNOWN:
        table = read(folder, about.file)
        if table is None:
            continue
        columns = [str(name) for name in table.columns if name not in {*about.hidden, KEYS, BEFORE}]
        lead = about.lead
        if about.shared is not None and (name := about.shared[0]) in columns:
            told = set(table[name]) - {""}
            if len(told) < 2:
                columns.remove(name)
                lead = " ".join([lead, *(f"{about.shared[1]} {value}." for value in told)])
        runs = None
        if KEYS in table.columns:
            found_of = [[to for word in words.split() if (to := link(word))] for words in table[KEYS]]
            runs = found_of if any(found_of) else None
        rows = table[columns].to_numpy().tolist()
        if about.brief is not None:
            with suppress(KeyError, ValueError, TypeError):  # another release's table is shown as it is
                rows = about.brief(pd.read_csv(Path(str(folder), about.file)))
                columns = list(about.columns)
        found.append(Shown(about, lead, columns, rows, runs, [anchor(about.id, str(row[0])) for row in rows]))
    return found


def bands(table: pd.DataFrame | None) -> pd.DataFrame | None:
    """The rows with a published figure, a band and runs of ours; `published` and NUMBERS as floats."""
    if table is None or not {"id", "source", "measure", "band", "ours", "verdict", "published", *NUMBERS} <= set(
        table.columns
    ):
        return None
    numbers = table[["published", *NUMBERS]].apply(pd.to_numeric, errors="coerce")
    table = table.assign(**{name: numbers[name] for name in numbers.columns})
    return table.dropna(subset=["published", "low", "mean"])
