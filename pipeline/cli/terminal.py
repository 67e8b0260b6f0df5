"""The progress bar of a command, in the last line of a terminal. Files and pipes get none."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from typing import Any

BAR = 20
"""Columns of the bar."""

_shown: list[Any] = []
"""The bar of this process, if shown: a `rich.progress.Progress` with one task, number 0."""


def show(what: str, done: float = 0, total: float | None = None, count: str = "") -> None:
    """Show what the command is doing; without a `total` the bar only moves."""
    if not sys.stdout.isatty():
        return
    if first := not _shown:
        _shown.append(_bar())
    # Leaves room for the `^C` that a terminal echoes: on the next line, it would leave this one behind.
    room = shutil.get_terminal_size().columns - len(count) - BAR - 8
    what = what if len(what) <= room else f"{what[: max(room - 1, 0)]}…"
    progress, task = _shown[0], _shown[0].tasks[0]
    # `update(total=None)` would keep the old total, and a task that has ended once would no longer move.
    task.total, task.finished_time = total, None
    progress.update(0, description=what, completed=done, count=count, refresh=total is None)
    if first:
        progress.start()
        progress.console.show_cursor(True)  # rich hides it, and a killed process would leave it hidden


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    # Lines printed above the bar are not wrapped, so that a command can be copied whole.
    console = Console(soft_wrap=True, highlight=False)
    count, text = TextColumn("{task.fields[count]}"), TextColumn("{task.description}", markup=False)
    progress = Progress(
        count, BarColumn(BAR), SpinnerColumn("line"), text, console=console, transient=True, refresh_per_second=4
    )
    progress.add_task("", total=None, count="")
    return progress


def clear() -> None:
    """Remove the bar."""
    while _shown:
        _shown.pop().stop()


def say(sentence: str) -> None:
    """Print a sentence and flush: wrapped on a terminal, one line into a file or a pipe."""
    if sys.stdout.isatty():
        sentence = textwrap.fill(sentence, shutil.get_terminal_size().columns, break_on_hyphens=False)
    print(sentence, flush=True)


def suggest(command: str) -> None:
    """Print the next command on a terminal; within `dvc repro` the next stage follows by itself."""
    if sys.stdout.isatty() and "DVC_STAGE" not in os.environ:
        print(f"next: {command}", flush=True)
