"""Tables of other commands: published figures and tuned learning rates, with what of them was trained in this checkout."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pandas as pd

from pipeline.cli import console
from pipeline.cli.formatting import listed
from pipeline.report import published_figures
from pipeline.report.evidence import Evidence
from pipeline.report.prose import published
from pipeline.report.tuned import SHORT, brief
from pipeline.storage.find import KEYS

HERE, ELSEWHERE, NOT_RUN = "here", "elsewhere", "–"
"""Where the runs of a row were trained: those that are not in this checkout's store came with the table."""


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
        published_figures.FILE,
        "published",
        "Published figures",
        "Recipes out of the literature: what their authors published, the band in which a mean of ours should lie, and ours with its "
        "95 % interval over seeds.",
        tuple(published_figures.NUMBERS),
    ),
    OtherTable(
        "tuned.csv",
        "tuned",
        "Tuned learning rates",
        "Each optimizer at its default learning rate and at the one that the validation split chooses. The figures are of other seeds "
        "than those that chose; intervals are 95 % over seeds.",
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


def read(file: str, evidence: Evidence) -> pd.DataFrame | None:
    """The table of that name as text, with a column `trained`; None where there is none, or nothing of it can be shown.

    It is the one beside the report, else the one that comes with the project. Rows whose runs are not all in this checkout are
    shown if they are of the data set of the report.
    """
    dataset = str(evidence.main["dataset"].iloc[0])
    for folder in (evidence.tables_folder, console.PROJECT / "docs/results"):
        table = _read(folder / file) if folder else None
        if table is None:
            continue
        trained = [_trained(keys.split(), evidence) for keys in table[KEYS]]
        of = table["dataset"] if "dataset" in table else pd.Series("mnist", table.index)
        shown = [where != ELSEWHERE or name == dataset for where, name in zip(trained, of, strict=True)]
        table = table.assign(trained=trained).loc[shown]
        if HERE in trained:
            return table
        if ELSEWHERE in set(table["trained"]):
            return table[table["trained"].ne(NOT_RUN)]
    return None


def _read(path: Path) -> pd.DataFrame | None:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError):  # pandas' errors of parsing are ValueErrors
        return None
    return table if KEYS in table.columns else None


def _trained(keys: list[str], evidence: Evidence) -> str:
    if not keys:
        return NOT_RUN
    return HERE if all(key in evidence.by_beginning for key in keys) else ELSEWHERE


def tables(evidence: Evidence) -> list[Shown]:
    """Every known table that there is something of to show."""
    found = [_shown(about, table, evidence) for about in KNOWN if (table := read(about.file, evidence)) is not None]
    return [shown for shown in found if shown.rows]


def _shown(about: OtherTable, table: pd.DataFrame, evidence: Evidence) -> Shown:
    runs = [words.split() for words in table[KEYS]]
    results = [run for key in chain(*runs) if (run := evidence.record_of(key))]
    trained_on = published.trained_on(results) if results else ""
    lead = about.lead
    if results:
        lead += f" Data: {listed(sorted({run.job.dataset.name for run in results}))}."
    lead += f" Trained on {trained_on}." if trained_on else ""
    places = set(table["trained"]) - {NOT_RUN}
    if places == {ELSEWHERE}:
        lead += " Not trained in this checkout: the table comes with the project."
    # Where one machine trained all of them, or all were trained at one place, the lead has said so.
    hidden = {*about.hidden, KEYS, *([] if ";" in trained_on else ["on"]), *([] if len(places) > 1 else ["trained"])}
    columns = [str(name) for name in table.columns if name not in hidden]
    rows = table[columns].to_numpy().tolist()
    if about.brief is not None:
        with suppress(KeyError, ValueError, TypeError):  # another release's table is shown as it is
            rows = about.brief(pd.read_csv(io.StringIO(table.to_csv(index=False))))
            columns = list(about.columns)
    links = [[to for key in keys if (to := evidence.link_to(key))] for keys in runs]
    return Shown(about, lead, columns, rows, links if any(links) else None)


def bands(evidence: Evidence) -> pd.DataFrame | None:
    """The published figures with a band and runs; `published` and its NUMBERS as floats."""
    table = read(published_figures.FILE, evidence)
    numbers = ["published", *published_figures.NUMBERS]
    if table is None or not {"id", "source", "ours", "verdict", *numbers} <= set(table.columns):
        return None
    table = table.assign(**{name: pd.to_numeric(table[name], errors="coerce") for name in numbers})
    return table.dropna(subset=["published", "low", "mean"])
