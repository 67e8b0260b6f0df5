"""Tables that other commands leave in the report's folder, as far as the runs that they rest on are in `runs/`."""

from __future__ import annotations

from collections.abc import Callable, Container
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pandas as pd

from pipeline.cli.formatting import listed, plural
from pipeline.report.evidence import Evidence
from pipeline.report.prose import published
from pipeline.report.tuned import SHORT, brief
from pipeline.storage.find import KEYS

PUBLISHED = "published.csv"
"""Of `python -m pipeline.published`."""

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
        "Recipes out of the literature, by python -m pipeline.published: what their authors published, the band in which a mean "
        "of ours should lie, and ours with its 95 % interval over seeds.",
        tuple(NUMBERS),
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


def read(folder: Path | None, file: str, here: Container[str]) -> tuple[pd.DataFrame, int] | None:
    """The table of that name as text, and how many of its rows are left out; None where nothing of it can be shown.

    A row is left out where one of its runs is not among `here`, the beginnings of keys: nobody could look it up. Rows
    of what was not run stay, as long as there are others.
    """
    if folder is None:
        return None
    try:
        table = pd.read_csv(folder / file, dtype=str, keep_default_na=False)
    except (OSError, ValueError):  # pandas' errors of parsing are ValueErrors
        return None
    if KEYS not in table.columns:
        return None
    runs = table[KEYS].str.split()
    kept = table.loc[[all(key in here for key in keys) for keys in runs]]
    return (kept, len(table) - len(kept)) if kept[KEYS].any() else None


def anchor(table: str, name: str) -> str:
    """What a row, by its first cell, is called on the page."""
    return f"{table}-{name}"


def tables(folder: Path | None, evidence: Evidence) -> list[Shown]:
    """Every known table that lies in `folder`, as far as its runs are in the store of `evidence`."""
    found = []
    for about in KNOWN:
        there = read(folder, about.file, evidence.by_beginning)
        if there is None:
            continue
        table, left_out = there
        runs = [words.split() for words in table[KEYS]]
        results = [run for key in chain(*runs) if (run := evidence.record_of(key))]
        if not results:
            continue
        trained_on = published.trained_on(results)
        lead = f"{about.lead} Data: {listed(sorted({run.job.dataset.name for run in results}))}."
        lead += f" Trained on {trained_on}." if trained_on else ""
        if left_out:
            lead += f" {plural(left_out, 'row')} left out: not all of their runs are in runs/."
        # Where one machine trained all of them, the lead has said so.
        hidden = {*about.hidden, KEYS, *([] if ";" in trained_on else ["on"])}
        columns = [str(name) for name in table.columns if name not in hidden]
        rows = table[columns].to_numpy().tolist()
        if about.brief is not None:
            with suppress(KeyError, ValueError, TypeError):  # another release's table is shown as it is
                rows = about.brief(pd.read_csv(Path(str(folder), about.file)).loc[table.index])
                columns = list(about.columns)
        links = [[to for key in keys if (to := evidence.link_to(key))] for keys in runs]
        found.append(
            Shown(
                about,
                lead,
                columns,
                rows,
                links if any(links) else None,
                [anchor(about.id, str(row[0])) for row in rows],
            )
        )
    return found


def bands(table: pd.DataFrame) -> pd.DataFrame | None:
    """The rows with a published figure, a band and runs of ours; `published` and NUMBERS as floats."""
    if not {"id", "source", "measure", "band", "ours", "verdict", "published", *NUMBERS} <= set(table.columns):
        return None
    numbers = table[["published", *NUMBERS]].apply(pd.to_numeric, errors="coerce")
    table = table.assign(**{name: numbers[name] for name in numbers.columns})
    return table.dropna(subset=["published", "low", "mean"])
