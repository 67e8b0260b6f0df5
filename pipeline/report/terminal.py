"""The output of compare at the terminal, and its note in MLflow: the leaderboard and the answers."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from pipeline.report import tables
from pipeline.report.evidence import Evidence
from pipeline.report.prose import answers, limits, opening

MOST_ROWS, MOST_NOTED = 12, 30
"""Rows of a leaderboard at the terminal, and in the note."""

PIPED_WIDTH = 124
"""Characters per line of a table that goes to a file or another program."""


def standard_output() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)


def say(console: Console, sentence: str, style: str | None = None) -> None:
    """Print a sentence, wrapped on a terminal and on one line elsewhere."""
    console.print(sentence, style=style, soft_wrap=not console.is_terminal, markup=False)


def table(
    frame: pd.DataFrame,
    console: Console,
    text: Mapping[str, int],
    dispensable: Sequence[str] = (),
    title: str | None = None,
) -> Table:
    """The texts of `frame` as a table that fits `console` without cutting words or numbers.

    The columns in `text` wrap between words, down to the given width; others stay on one line. If the columns do not fit,
    those of `dispensable` are dropped, the first one first.
    """
    for unneeded in [*dispensable, None]:
        found = Table(box=SIMPLE_HEAD, title=Text(title) if title else None, title_justify="left", pad_edge=False)
        wanted = []
        for heading, cells in frame.items():
            least = max(map(cell_len, [*str(heading).split(), *cells]))
            least = min(least, text.get(str(heading), least))
            found.add_column(str(heading), justify="left" if heading in text else "right", min_width=least)
            wanted.append(max(map(cell_len, [str(heading), *cells])))
        for row in frame.itertuples(index=False):
            found.add_row(*map(Text, row))
        spare = console.width - Measurement.get(console, console.options.update_width(10_000), found).minimum
        if spare >= 0:
            # Left alone, rich shrinks the widest column below its minimum and cuts the table off.
            for each, width in zip(found.columns, wanted, strict=True):
                more = min(max(width - (each.min_width or 0), 0), spare)
                each.width, spare = (each.min_width or 0) + more, spare - more
            break
        frame = frame.loc[:, frame.columns != unneeded]
    return found


def show(evidence: Evidence, console: Console | None = None) -> None:
    """Print the leaderboard of the largest comparison, the answers and the warnings."""
    console = console or standard_output()
    if evidence.questions:
        board = tables.texts(evidence)
        intervals = [name for name in board.columns[::-1] if name.endswith("interval")]
        unneeded = ["n", *intervals, "validation, %", "place"]
        title = f"{evidence.questions[0][1]} on {evidence.questions[0][0]}"
        console.print(table(board.head(MOST_ROWS), console, {"configuration": 20}, unneeded, title))
        if len(board) > MOST_ROWS:
            console.print(f"… {len(board) - MOST_ROWS} more in comparison.csv")
        _say_answers(evidence, console)
    say(console, opening.lead(evidence).replace("**", ""))
    for lost in evidence.lost[:MOST_ROWS] if not evidence.questions else ():
        say(console, f"{lost.name}, {lost.status}: {lost.reason}")
    for note in limits.notes(evidence):
        say(console, note)


def _say_answers(evidence: Evidence, console: Console) -> None:
    for question, analysis in evidence.analyses.items():
        if len(evidence.analyses) > 1:
            say(console, f"{question[1]} on {question[0]}:", style="bold")
        for answer in answers.answers(analysis):
            say(console, f"{answer.question} {answer.text}".replace("**", ""))
        if more := limits.more_seeds(evidence, question):
            say(console, more[0])
            console.print(f"  {more[1]}", soft_wrap=True, markup=False)


def note(evidence: Evidence) -> str:
    """The answers and the leaderboard in Markdown."""
    parts = [*limits.alarm(evidence), opening.lead(evidence)]
    if not evidence.questions:
        parts += [
            tables.markdown(f"- {lost.name}, {lost.status}: {lost.reason}") for lost in evidence.lost[:MOST_NOTED]
        ]
        return "\n\n".join(parts) + "\n"
    for (_, name), analysis in evidence.analyses.items():
        parts += [f"**{answer.question}** ({name}) {answer.text}" for answer in answers.answers(analysis)]
    board = tables.texts(evidence)
    rows = [[tables.markdown(cell) for cell in row] for row in board.head(MOST_NOTED).itertuples(index=False)]
    parts.append("\n".join(tables.markdown_table([list(board.columns), *rows])))
    if len(board) > MOST_NOTED:
        parts.append(f"{len(board) - MOST_NOTED} more in `comparison.csv`.")
    return "\n\n".join(parts) + "\n"
