"""What compare says at the terminal: the leaderboard and where the report lies."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from pipeline.cli import formatting
from pipeline.report import tables
from pipeline.report.evidence import Evidence
from pipeline.report.prose import answers, limits, opening
from pipeline.training.result import FINISHED

MOST_ROWS = 12

PIPED_WIDTH = 124
"""Columns of a table that goes to a file or another program."""

DISPENSABLE = ("seconds", "n", "gap_interval", "test_interval", "val", "place")
"""Columns of the leaderboard that a narrow window leaves out, the first one first."""


def standard_output() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)


def say(console: Console, sentence: str, style: str | None = None) -> None:
    """Print a sentence, broken between words on a terminal and in one line elsewhere."""
    console.print(sentence, style=style, soft_wrap=not console.is_terminal, markup=False)


def table(
    headings: Mapping[str, str],
    rows: Sequence[Mapping[str, object]],
    console: Console,
    text: Mapping[str, int],
    dispensable: Sequence[str] = (),
    title: str | None = None,
) -> Table:
    """A table that fits `console`, of whole words and figures.

    A column of `text` is broken between words, down to the width that stands there; others have a line to a cell. Where
    there is no room for all columns those of `dispensable` are left out, the first one first.
    """
    columns = list(headings)
    for unneeded in [*dispensable, None]:
        found = Table(box=SIMPLE_HEAD, title=Text(title) if title else None, title_justify="left", pad_edge=False)
        wanted = []
        for column in columns:
            cells = [str(row[column]) for row in rows]
            least = max(map(cell_len, [*headings[column].split(), *cells]))
            least = min(least, text.get(column, least))
            found.add_column(headings[column], justify="left" if column in text else "right", min_width=least)
            wanted.append(max(map(cell_len, [headings[column], *cells])))
        for row in rows:
            found.add_row(*(Text(str(row[column])) for column in columns))
        spare = console.width - Measurement.get(console, console.options.update_width(10_000), found).minimum
        if spare >= 0:
            # By itself rich takes from the widest column what that cannot give, and cuts the table off.
            for each, width in zip(found.columns, wanted, strict=True):
                more = min(max(width - (each.min_width or 0), 0), spare)
                each.width, spare = (each.min_width or 0) + more, spare - more
            break
        columns = [column for column in columns if column != unneeded]
    return found


def lines(found: Table, console: Console) -> list[str]:
    """What `found` looks like on `console`."""
    with console.capture() as captured:
        console.print(found)
    return [line.rstrip() for line in captured.get().splitlines()]


def show(evidence: Evidence, console: Console | None = None) -> None:
    """The best configurations of the largest comparison; the alarm and what stands in the way of reading it."""
    console = console or standard_output()
    if not evidence.questions:
        say(console, opening.lead(evidence).replace("**", ""))
        for lost in evidence.lost[:MOST_ROWS]:
            say(console, f"{lost.name}, {lost.status}: {lost.reason}")
        return
    rows = tables.leaderboard(evidence)
    dataset, experiment = evidence.questions[0]
    title = f"{experiment} on {dataset}"
    headings, text = tables.headings(evidence), {"configuration": 20}
    unneeded = ["seconds", *(name for name in headings if name not in tables.HEADINGS and name != evidence.ranking)]
    console.print(table(headings, rows[:MOST_ROWS], console, text, [*unneeded, *DISPENSABLE[1:]], title))
    if len(rows) > MOST_ROWS:
        console.print(f"… {len(rows) - MOST_ROWS} more in comparison.csv")
    for question, analysis in evidence.analyses.items():
        name = question[1]
        if len(evidence.analyses) > 1:
            say(console, f"{name}:", style="bold")
        for answer in answers.answers(analysis):
            say(console, f"{answer.question} {answer.text}".replace("**", ""))
        if more := limits.more_seeds(evidence, question):
            say(console, more[0])
            console.print(f"  {more[1]}", soft_wrap=True, markup=False)
    say(console, opening.lead(evidence).replace("**", ""))
    for note in limits.notes(evidence):
        say(console, note)
    if evidence.leaks:
        say(console, opening.alarm(evidence), style="bold red")


def closing(evidence: Evidence, page: Path, experiment: str | None = None) -> str:
    """The last line. `experiment`: the DVC experiment whose temporary folder `page` lies in."""
    runs, lost = formatting.plural(evidence.count(FINISHED), "finished run"), len(evidence.lost)
    what = f"{runs}{f', {lost} lost' if lost else ''}"
    if experiment:
        return f"{what}: the report is in experiment {experiment}; `dvc exp apply {experiment}` brings it here"
    return f"{what}: the report is {page}"
