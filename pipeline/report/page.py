"""The page: one HTML file with everything in it, that needs no network and no script."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from pipeline.cli import formatting
from pipeline.data.arrays import Arrays
from pipeline.report import method, statistics_tables, tables
from pipeline.report.evidence import BOOK_ACCURACY, BOOK_BAND, BOOK_SOURCE, Evidence
from pipeline.report.plots import Comparison, Plots
from pipeline.report.prose import answers, limits, opening
from pipeline.statistics import summary
from pipeline.training.result import DIVERGED, FAILED, FINISHED

HERE = Path(__file__).resolve().parent

TABLES = ("comparison", "contrasts", "runs", "curves", "gap_by_width", "gap_by_training_loss", "confusion", "failures")

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
    environment.globals.update(plural=formatting.plural, data_uri=data_uri)
    common = {
        "style": Markup((HERE / "page.css").read_text(encoding="utf-8")),
        "evidence": evidence,
        "plots": plots,
        "lead": opening.lead(evidence),
        "alarm": opening.alarm(evidence),
        "notes": limits.notes(evidence),
        "method": method.card(evidence, arrays),
        "counts": {status: evidence.count(status) for status in (FINISHED, DIVERGED, FAILED)},
        "files": [*(f"{name}.csv" for name in TABLES), "metrics.json"],
    }
    compared = _compared(evidence, plots) if plots else {}
    html = environment.get_template("page.html").render(common | compared)
    return re.sub(r"(?<=\d) %", "\u202f%", html)  # a narrow no-break space between a number and its per cent sign


def _compared(evidence: Evidence, plots: Plots) -> dict[str, Any]:
    """What the page shows of runs that finished."""
    return {
        "comparisons": [
            _comparison(evidence, question, plots.comparisons[question]) for question in evidence.comparisons
        ],
        "boards": [_board(evidence, question) for question in evidence.questions],
        "book": _book(evidence),
        "winner_link": evidence.link(evidence.questions[0][1], evidence.winner.key) if evidence.winner else None,
        "split_offset": statistics_tables.split_offset(evidence.analysis),
    }


def _comparison(evidence: Evidence, question: tuple[str, str], plots: Comparison) -> dict[str, Any]:
    """The answers of one comparison, each with its picture, and its statistics."""
    found = evidence.analyses[question]
    pictures = [
        plots.gap or plots.dumbbells,
        plots.gap_by_loss,
        plots.held_out_loss,
        plots.dumbbells if plots.gap else None,
    ]
    return {
        "name": f"{question[1]}, on {question[0]}",
        "tie": opening.tie(evidence.question(question), evidence.ranking),
        "answers": list(zip(answers.answers(found), pictures, strict=True)),
        "limits": limits.limits(found),
        "more_seeds": evidence.more_seeds.get(question),
        "statistics": statistics_tables.tables(found),
    }


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


def data_uri(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()


def _board(evidence: Evidence, question: tuple[str, str]) -> dict[str, Any]:
    """One leaderboard, each row with its runs."""
    rows = tables.leaderboard(evidence, question)
    runs = evidence.runs[evidence.runs["experiment"].eq(question[1])].sort_values("seed")
    for row in rows:
        own = runs[runs["configuration"].eq(row["row"]["configuration"])]
        row["runs"] = [
            {"seed": int(run["seed"]), "status": run["status"], "link": evidence.link(question[1], run["key"])}
            for _, run in own.iterrows()
        ]
    return {
        "dataset": question[0],
        "experiment": question[1],
        "parent": evidence.parent_link(question[1]),
        "rows": rows,
        "validated": evidence.validated(question),
    }


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
