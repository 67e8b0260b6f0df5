"""The page: one HTML file with everything in it, that needs no network and no script."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from pipeline.cli import formatting
from pipeline.data.arrays import Arrays
from pipeline.report import figures, findings, method, other_tables, pictures, style, tables
from pipeline.report.evidence import BOOK_ACCURACY, BOOK_BAND, BOOK_SOURCE, Evidence
from pipeline.report.exhibits import Exhibits
from pipeline.report.prose import answers, limits, opening
from pipeline.statistics import summary
from pipeline.training.result import DIVERGED, FAILED, FINISHED

HERE = Path(__file__).resolve().parent


def render(evidence: Evidence, exhibits: Exhibits | None, arrays: Arrays | None) -> str:
    """The page. `exhibits` is None where no run finished: then it is about the runs that were lost."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["strong"] = strong
    environment.globals.update(plural=formatting.plural, seeds=opening.seeds, leads=leads, zip=zip)
    environment.globals.update(data_uri=pictures.data_uri, ink=pictures.ink)
    boards = [_board(evidence, question, number) for number, question in enumerate(evidence.questions)]
    links = [_links(board, evidence if number == 0 else None) for number, board in enumerate(boards)] or [{}]
    book = evidence.questions.index(evidence.book_question) if evidence.book_question in evidence.questions else 0
    html = environment.get_template("page.html").render(
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        evidence=evidence,
        exhibits=exhibits,
        boards=boards,
        answer=opening.answer(evidence),
        certainty=opening.certainty(evidence),
        analysis=evidence.analysis,
        answers=answers.answers(evidence.analysis),
        limits=limits.limits(evidence.analysis),
        notes=limits.notes(evidence),
        findings=findings,
        links=links[0],
        book_links=links[book],
        seed_links={int(run["seed"]): evidence.link_of(run["key"]) for _, run in evidence.book.iterrows()},
        winner_link=evidence.link_of(evidence.winner.key) if boards and evidence.winner else None,
        other_tables=other_tables.tables(evidence.tables_folder, evidence),
        alarm=opening.alarm(evidence),
        book=_book(evidence),
        method=method.card(evidence, arrays),
        runs=_runs(evidence),
        published_links=_published_links(exhibits),
        swatches={name: f"var({style.VARIABLES[look['color']]})" for name, look in exhibits.looks.items()}
        if exhibits
        else {},
        counts={status: evidence.count(status) for status in (FINISHED, DIVERGED, FAILED)},
    )
    return unbroken(html)


def unbroken(html: str) -> str:
    """`html` with a narrow no-break space between each number and its per cent sign."""
    return re.sub(r"(?<=\d) %", "\u202f%", html)


def strong(text: str) -> Markup:
    """`**…**` as HTML, everything else escaped."""
    return Markup(re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", str(escape(text))))


def leads(table: pd.DataFrame, links: Mapping[Any, str | None]) -> list[list[tuple[Any, str | None]]]:
    """Each row's cells with where they lead: configurations, and optimizers at a width, to their runs."""
    columns = [str(column) for column in table.columns]
    by_optimizer = columns[:1] == ["optimizer"]
    found = []
    for row in table.itertuples(index=False):
        places = [links.get(cell) for cell in row]
        if by_optimizer and columns[1:2] == ["width"]:
            places[0] = links.get(f"{row[0]}, width {row[1]}")
        elif by_optimizer:
            places = [links.get(f"{row[0]}, width {column}") for column in columns]
        found.append(list(zip(row, places, strict=True)))
    return found


def _links(board: Mapping[str, Any], evidence: Evidence | None) -> dict[Any, str | None]:
    """Where a configuration, by what it is called, has the links to its runs; `evidence`: by what its analysis calls it too."""
    found: dict[Any, str | None] = {row["configuration"]: f"#{row['id']}" for row in board["rows"]}
    if evidence:
        labels = evidence.analysis.configurations["label"]
        ids = {row["row"]["configuration"]: f"#{row['id']}" for row in board["rows"]}
        found |= {str(label): ids[key] for key, label in labels.items() if key in ids}
    return found


def _published_links(exhibits: Exhibits | None) -> dict[Any, str | None]:
    """From the numbers behind the picture of published figures to the rows of their table, which have the runs."""
    table = exhibits.published.table if exhibits and exhibits.published else None
    if table is None:
        return {}
    return {row: f"#{other_tables.anchor('published', row.replace(' ', '_'))}" for row in table["row"]}


def _board(evidence: Evidence, question: tuple[str, str], number: int) -> dict[str, Any]:
    """One leaderboard, with the places of each interval on its column's axis, in per cent of the column."""
    rows = tables.leaderboard(evidence, question)
    table = evidence.question(question)
    test = _axis(figures.stretch(table[[f"test_accuracy_{part}" for part in ("mean", "low", "high")]].astype(float)))
    gap = _axis(table[[f"gap_accuracy_{part}" for part in ("mean", "low", "high")]].astype(float))
    for place, (row, test_places, gap_places) in enumerate(zip(rows, test, gap, strict=True)):
        row["id"] = f"configuration-{number}-{place}"
        row["leads"] = bool(pd.notna(row["row"]["place"]) and row["row"]["place"] == 1)
        row["test_places"], row["gap_places"] = test_places, gap_places
        mine = evidence.runs[
            evidence.runs["experiment"].eq(question[1]) & evidence.runs["configuration"].eq(row["row"]["configuration"])
        ].sort_values("seed")
        row["runs"] = [
            {"seed": int(run["seed"]), "status": run["status"], "link": evidence.link(question[1], run["key"])}
            for _, run in mine.iterrows()
        ]
    return {
        "dataset": question[0],
        "experiment": question[1],
        "parent": evidence.parent_link(question[1]),
        "rows": rows,
        "validated": bool(table["best_val_accuracy_mean"].notna().any()),
    }


def _axis(values: pd.DataFrame) -> list[dict[str, float] | None]:
    """Mean, low and high of each row in per cent of an axis that holds all means, with some room at either end.

    One wide interval of two seeds would leave no room for the rest: intervals are cut at the ends of the axis.
    """
    values = values.set_axis(["mean", "low", "high"], axis=1)
    room = 0.08 * (values["mean"].max() - values["mean"].min()) or 1e-3
    start, length = values["mean"].min() - room, values["mean"].max() - values["mean"].min() + 2 * room
    places = (100 * (values - start) / length).clip(0, 100).round(1)
    places = places.assign(low=places["low"].fillna(places["mean"]), high=places["high"].fillna(places["mean"]))
    return [None if pd.isna(row["mean"]) else dict(row) for _, row in places.iterrows()]


def _book(evidence: Evidence) -> dict[str, Any] | None:
    book = evidence.book
    if book.empty:
        return None
    interval = summary.interval(book["test_accuracy"], summary.BOUNDS["test_accuracy"])
    inside = int(book["test_accuracy"].between(*BOOK_BAND).sum())
    return {
        "dataset": book["dataset"].iloc[0],
        "n": len(book),
        "mean": formatting.percent(interval["mean"]),
        "span": formatting.span(interval["low"], interval["high"]),
        "gap": formatting.points(book["gap_accuracy"].mean()),
        "inside": inside,
        "source": BOOK_SOURCE,
        "published": formatting.percent(BOOK_ACCURACY, 1),
        "band": f"{formatting.span(*BOOK_BAND, digits=1)} %",
    }


def _runs(evidence: Evidence) -> list[dict[str, Any]]:
    return [
        {
            "name": run["name"],
            "experiment": run["experiment"],
            "status": run["status"],
            "test": formatting.number(100 * run["test_accuracy"]),
            "gap": formatting.number(100 * run["gap_accuracy"]),
            "seconds": formatting.number(run["seconds"], 1),
            "link": evidence.link(run["experiment"], run["key"]),
        }
        for _, run in evidence.runs.iterrows()
    ]
