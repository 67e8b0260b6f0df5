"""The page: one self-contained HTML file that works offline. Without scripts its charts are static."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from pipeline.cli import formatting
from pipeline.report import statistics_tables, tables
from pipeline.report.evidence import Evidence, Question
from pipeline.report.plots import Pictures, run_curves
from pipeline.report.prose import answers, limits, method, opening
from pipeline.report.prose.captions import GLOSSARY

HERE = Path(__file__).resolve().parent

TABLES = ("comparison", "contrasts", "runs", "curves", "gap_by_width", "gap_by_training_loss", "confusion", "failures")


def render(evidence: Evidence, plots: Pictures | None, scripts: bytes = b"") -> str:
    """The page as HTML. `plots` is None if no run finished: then the page lists the lost runs.

    `scripts` draws the charts (`charts.scripts`); without it, or in a browser without scripts, they are static.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["explained"] = explained
    common = {
        "plural": formatting.plural,
        "style": Markup((HERE / "page.css").read_text(encoding="utf-8")),
        "evidence": evidence,
        "plots": plots,
        "comparisons": [],
        "title": opening.title(evidence),
        "lead": opening.lead(evidence),
        "notes": limits.notes(evidence),
        "method": method.card(evidence),
        "files": [*(f"{name}.csv" for name in TABLES), "metrics.json"],
    }
    compared = _compared(evidence, plots, scripts) if plots else {}
    html = environment.get_template("page.html").render(common | compared)
    return re.sub(r"(?<=\d) %", "\u202f%", html)  # a narrow no-break space between a number and its per cent sign


def _compared(evidence: Evidence, plots: Pictures, scripts: bytes) -> dict[str, Any]:
    """The template's values for finished runs."""
    found = [[(name, answer) for answer in answers.answers(own)] for (_, name), own in evidence.analyses.items()]
    *asked, accurate = zip(*found, strict=True)
    columns = tables.columns(evidence)
    data = {"specs": {own.name: own.spec for own in plots.all()}, "curves": run_curves(evidence)}
    return {
        "answers": list(zip(asked, [plots.gap, plots.fit, plots.excess], strict=True)),
        "accurate": accurate,
        "comparisons": [_comparison(evidence, question) for question in evidence.comparisons],
        "columns": columns,
        "rows": [row for question in evidence.questions for row in _rows(evidence, columns, question)],
        "parents": {name: link for _, name in evidence.questions if (link := evidence.parent_link(name))},
        "book": method.book(evidence),
        "winner": evidence.winner and _winner(evidence, evidence.winner.key),
        "split_offset": method.split_offset(evidence.analyses[evidence.questions[0]]),
        "scripts": base64.b64encode(scripts).decode(),
        "data": base64.b64encode(gzip.compress(json.dumps(data).encode(), mtime=0)).decode(),
        "behaviour": Markup((HERE / "page.js").read_text(encoding="utf-8")) if scripts else "",
    }


def _winner(evidence: Evidence, key: str) -> tuple[str, str | None]:
    """The name of the run, and the address of its page in MLflow."""
    name = evidence.runs.loc[evidence.runs["key"].eq(key), "name"].iloc[0]
    return str(name), evidence.link(evidence.questions[0][1], key)


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


def _rows(evidence: Evidence, columns: Sequence[tables.Column], question: Question) -> list[tuple[Any, ...]]:
    """The rows of a leaderboard, each with its cells and its runs."""
    runs = evidence.runs[evidence.runs["experiment"].eq(question[1])].sort_values("seed")
    groups = runs.groupby("configuration")[["seed", "status", "key"]]
    found = []
    for _, row in tables.leaderboard(evidence, question).iterrows():
        cells = [(column, *tables.written(row, column)) for column in columns]
        own = groups.get_group(row["configuration"]).to_numpy()
        found.append((row, cells, [(seed, status, evidence.link(question[1], key)) for seed, status, key in own]))
    return found


def explained(text: str) -> Markup:
    """`text` as HTML: `**…**` in bold, and a tooltip on the first occurrence of each term of GLOSSARY."""
    html = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", str(escape(text)))
    meanings, seen = list(GLOSSARY.values()), set()

    def with_meaning(match: re.Match[str]) -> str:
        if match.lastindex in seen:
            return match[0]
        seen.add(match.lastindex)
        return f'<abbr title="{escape(meanings[(match.lastindex or 1) - 1])}">{match[0]}</abbr>'

    return Markup(re.sub("|".join(rf"\b({word})(?!\w)" for word in GLOSSARY), with_meaning, html))
