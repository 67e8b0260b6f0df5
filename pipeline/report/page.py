"""The page: one HTML file with everything in it, that needs no network and no script."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from pipeline.cli import formatting
from pipeline.data.arrays import Arrays
from pipeline.report import figures, method, other_tables, pictures, statistics_tables, style, tables
from pipeline.report.evidence import BOOK_ACCURACY, BOOK_BAND, BOOK_SOURCE, Evidence
from pipeline.report.plots import Comparison, Plots
from pipeline.report.prose import answers, limits, opening
from pipeline.statistics import summary
from pipeline.training.result import DIVERGED, FAILED, FINISHED

HERE = Path(__file__).resolve().parent

FILES = [
    "comparison.csv",
    "contrasts.csv",
    "runs.csv",
    "curves.csv",
    "gap_by_width.csv",
    "gap_by_training_loss.csv",
    "confusion.csv",
    "metrics.json",
]

GLOSSARY = {
    r"nats?": "The unit of cross-entropy with the natural logarithm: a loss of 0.1 nats means that the right class gets a "
    "probability of about 90 %, in the geometric mean.",
    r"contrasts?": "Two configurations that differ in one value only, compared seed by seed; which ones was declared beforehand.",
    r"95 % intervals?": "Would hold the true mean in 95 of 100 repetitions with other seeds.",
    r"held[ -]out": "A random sample of the training file that no network is trained on.",
    r"explored": "10 seeds: worth a closer look.",
    r"confirmed": "30 seeds.",
}
"""What is explained when a reader points at it: the word as a regular expression, and what it means."""


def render(evidence: Evidence, plots: Plots | None, arrays: Arrays | None) -> str:
    """The page. `plots` is None where no run finished: then it is about the runs that were lost."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["explained"] = explained
    environment.globals.update(plural=formatting.plural, data_uri=pictures.data_uri, ink=pictures.ink)
    common = {
        "style": Markup((HERE / "page.css").read_text(encoding="utf-8")),
        "evidence": evidence,
        "plots": plots,
        "lead": opening.lead(evidence),
        "alarm": opening.alarm(evidence),
        "notes": limits.notes(evidence),
        "method": method.card(evidence, arrays),
        "counts": {status: evidence.count(status) for status in (FINISHED, DIVERGED, FAILED)},
        "files": FILES,
        "other_tables": [],
    }
    compared = _compared(evidence, plots) if plots else {}
    return unbroken(environment.get_template("page.html").render(common | compared))


def _compared(evidence: Evidence, plots: Plots) -> dict[str, Any]:
    """What the page shows of runs that finished."""
    return {
        "comparisons": [
            _comparison(evidence, question, plots.comparisons[question]) for question in evidence.comparisons
        ],
        "boards": [_board(evidence, question) for question in evidence.questions],
        "book": _book(evidence),
        "winner_link": evidence.link_of(evidence.winner.key) if evidence.winner else None,
        "other_tables": other_tables.tables(evidence),
        "split_offset": statistics_tables.split_offset(evidence.analysis),
        "swatches": {name: f"var({style.VARIABLES[look['color']]})" for name, look in plots.looks.items()},
    }


def _comparison(evidence: Evidence, question: tuple[str, str], plots: Comparison) -> dict[str, Any]:
    """The answers of one comparison, each with its picture, and its statistics."""
    found = evidence.analyses[question]
    pictures_of = [plots.gap_accuracy or plots.dumbbells, plots.gap_by_loss, plots.held_out_loss]
    last = plots.dumbbells if plots.gap_accuracy else None
    return {
        "name": f"{question[1]}, on {question[0]}",
        "tie": opening.tie(evidence.question(question)),
        "answers": list(zip(answers.answers(found), [*pictures_of, last], strict=True)),
        "gap_loss": plots.gap_loss,
        "limits": limits.limits(found),
        "statistics": statistics_tables.tables(found),
    }


def unbroken(html: str) -> str:
    """`html` with a narrow no-break space between each number and its per cent sign."""
    return re.sub(r"(?<=\d) %", "\u202f%", html)


def explained(text: str) -> Markup:
    """`text` as HTML, `**…**` in bold; the first of each word of GLOSSARY with what it means."""
    html = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", str(escape(text)))
    meanings, seen = list(GLOSSARY.values()), set()

    def with_meaning(match: re.Match[str]) -> str:
        if match.lastindex in seen:
            return match[0]
        seen.add(match.lastindex)
        return f'<abbr title="{escape(meanings[(match.lastindex or 1) - 1])}">{match[0]}</abbr>'

    return Markup(re.sub("|".join(rf"\b({word})(?!\w)" for word in GLOSSARY), with_meaning, html))


def _board(evidence: Evidence, question: tuple[str, str]) -> dict[str, Any]:
    """One leaderboard, with the places of each interval on its column's axis, in per cent of the column."""
    rows = tables.leaderboard(evidence, question)
    table = evidence.by_place(question)
    test = _axis(figures.stretch(table[[f"test_accuracy_{part}" for part in ("mean", "low", "high")]].astype(float)))
    gap = _axis(table[[f"gap_accuracy_{part}" for part in ("mean", "low", "high")]].astype(float))
    runs = evidence.runs[evidence.runs["experiment"].eq(question[1])]
    for row, test_places, gap_places in zip(rows, test, gap, strict=True):
        row["leads"] = bool(pd.notna(row["row"]["place"]) and row["row"]["place"] == 1)
        row["test_places"], row["gap_places"] = test_places, gap_places
        mine = runs[runs["configuration"].eq(row["row"]["configuration"])].sort_values("seed")
        row["runs"] = [
            {"seed": int(run["seed"]), "status": run["status"], "link": evidence.link(question[1], run["key"])}
            for _, run in mine.iterrows()
        ]
    return {
        "dataset": question[0],
        "experiment": question[1],
        "parent": evidence.parent_link(question[1]),
        "rows": rows,
        "validated": bool(table["val_accuracy_mean"].notna().any()),
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
    return {
        "dataset": book["dataset"].iloc[0],
        "n": len(book),
        "mean": formatting.percent(interval["mean"]),
        "span": formatting.span(interval["low"], interval["high"]),
        "gap": formatting.points(book["book_gap_accuracy"].mean()),
        "inside": int(book["test_accuracy"].between(*BOOK_BAND).sum()),
        "source": BOOK_SOURCE,
        "published": formatting.percent(BOOK_ACCURACY, 1),
        "band": f"{formatting.span(*BOOK_BAND, digits=1)} %",
    }
