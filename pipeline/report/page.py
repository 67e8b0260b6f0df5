"""The page: one HTML file with everything in it, that needs no network. Without scripts its charts are pictures."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from pipeline.cli import formatting
from pipeline.data.arrays import Arrays
from pipeline.report import method, statistics_tables, tables
from pipeline.report.evidence import BOOK_ACCURACY, BOOK_BAND, BOOK_SOURCE, Evidence, Question
from pipeline.report.plots import Pictures, run_curves
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


def render(evidence: Evidence, plots: Pictures | None, arrays: Arrays | None, scripts: bytes = b"") -> str:
    """The page. `plots` is None where no run finished: then it is about the runs that were lost.

    `scripts`: what draws its charts (`charts.scripts`). Without, as without a browser that runs it, charts are pictures.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["explained"] = explained
    environment.globals.update(plural=formatting.plural)
    common = {
        "style": Markup((HERE / "page.css").read_text(encoding="utf-8")),
        "evidence": evidence,
        "plots": plots,
        "comparisons": [],
        "lead": opening.lead(evidence),
        "alarm": opening.alarm(evidence),
        "notes": limits.notes(evidence),
        "method": method.card(evidence, arrays),
        "counts": {status: evidence.count(status) for status in (FINISHED, DIVERGED, FAILED)},
        "files": [*(f"{name}.csv" for name in TABLES), "metrics.json"],
    }
    compared = _compared(evidence, plots, scripts) if plots else {}
    html = environment.get_template("page.html").render(common | compared)
    return re.sub(r"(?<=\d) %", "\u202f%", html)  # a narrow no-break space between a number and its per cent sign


def _compared(evidence: Evidence, plots: Pictures, scripts: bytes) -> dict[str, Any]:
    """What the page shows of runs that finished."""
    found = {question: answers.answers(own) for question, own in evidence.analyses.items()}
    said = [
        [(question[1], own[place].sentences) for question, own in found.items()]
        for place in range(len(answers.QUESTIONS) + 1)
    ]
    asked = [question for question, _ in answers.QUESTIONS.values()]
    data = {"specs": {own.name: own.spec for own in plots.all()}, "curves": run_curves(evidence)}
    return {
        "answers": list(zip(asked, said, [plots.gap, plots.fit, plots.excess], strict=False)),
        "accurate": said[-1],
        "most_accurate": next(iter(found.values()))[-1].question,
        "comparisons": [_comparison(evidence, question) for question in evidence.comparisons],
        "boards": [_board(evidence, question) for question in evidence.questions],
        "validated": any(map(evidence.validated, evidence.questions)),
        "book": _book(evidence),
        "winner_link": evidence.link(evidence.questions[0][1], evidence.winner.key) if evidence.winner else None,
        "split_offset": statistics_tables.split_offset(evidence.analysis),
        "scripts": base64.b64encode(scripts).decode(),
        "data": base64.b64encode(gzip.compress(json.dumps(data).encode(), mtime=0)).decode(),
        "behaviour": Markup((HERE / "page.js").read_text(encoding="utf-8")) if scripts else "",
    }


def _comparison(evidence: Evidence, question: Question) -> dict[str, Any]:
    """The headline of one comparison, and its statistics."""
    found = evidence.analyses[question]
    return {
        "name": question[1],
        "tie": opening.tie(evidence.question(question), evidence.ranking),
        "limits": limits.limits(found),
        "more_seeds": limits.more_seeds(evidence, question),
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


def _board(evidence: Evidence, question: Question) -> dict[str, Any]:
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
        "experiment": question[1],
        "parent": evidence.parent_link(question[1]),
        "rows": rows,
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
