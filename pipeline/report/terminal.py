"""What compare says at the terminal: the leaderboard and where the report lies."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.report import tables, words
from pipeline.report.evidence import Evidence
from pipeline.results.result import FINISHED

MOST_ROWS = 12


def show(evidence: Evidence, console: Console | None = None) -> None:
    """The best configurations of the largest comparison; the alarm and what stands in the way of reading it."""
    console = console or Console(highlight=False, width=None if sys.stdout.isatty() else 124)
    if not evidence.questions:
        console.print(" ".join(words.answer(evidence)).replace("**", ""), soft_wrap=True, markup=False)
        for lost in evidence.lost[:MOST_ROWS]:
            console.print(f"{lost.name}, {lost.status}: {lost.reason}", soft_wrap=True, markup=False)
        return
    rows = tables.leaderboard(evidence)
    dataset, experiment = evidence.questions[0]
    table = Table(box=SIMPLE_HEAD, title=Text(f"{experiment} on {dataset}"), title_justify="left", pad_edge=False)
    columns = [name for name in tables.HEADINGS if console.width >= 110 or not name.endswith("interval")]
    for column in columns:
        table.add_column(
            tables.HEADINGS[column], justify="left" if column == "configuration" else "right", no_wrap=True
        )
    for row in rows[:MOST_ROWS]:
        table.add_row(*(Text(str(row[column])) for column in columns))
    console.print(table)
    if len(rows) > MOST_ROWS:
        console.print(f"… {len(rows) - MOST_ROWS} more in comparison.csv")
    for answer in (evidence.analysis.which, evidence.analysis.overfits):
        console.print(answer, soft_wrap=True, markup=False)
    if evidence.seeds[0] < evidence.declared.seeds_to_explore:
        seeds = words.seeds(evidence)
        console.print(f"{seeds} per configuration: a smoke test, no claim about which is better", soft_wrap=True)
    for note in evidence.notes:
        console.print(note, soft_wrap=True, markup=False)
    if evidence.leaks:
        console.print(words.alarm(evidence), style="bold red", soft_wrap=True, markup=False)


def closing(evidence: Evidence, page: Path, experiment: str | None = None) -> str:
    """The last line. `experiment`: the DVC experiment whose temporary folder `page` lies in."""
    runs, lost = words.plural(evidence.count(FINISHED), "finished run"), len(evidence.lost)
    what = f"{runs}{f', {lost} lost' if lost else ''}"
    if experiment:
        return f"{what}: the report is in experiment {experiment}; `dvc exp apply {experiment}` brings it here"
    return f"{what}: the report is {page}"
