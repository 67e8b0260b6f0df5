"""Where a run came from, and whether everything that it needs is still there.

    python -m pipeline.lineage RUN
    python -m pipeline.lineage --check

RUN is a key (or its first letters), the id of an MLflow run, a run's name or its folder. --check looks for broken links of
all runs and ends with status 3 where it finds some.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.cli import console, terminal
from pipeline.cli.errors import RunsLost, UserError, shown_line
from pipeline.cli.formatting import plural
from pipeline.storage import lineage
from pipeline.storage.find import beginning, find_run
from pipeline.storage.store import RunStore
from pipeline.tracking import Tracker, open_tracker
from pipeline.tracking.address import home

DEFAULTS = {"data": "data/processed", "runs": "runs", "tracking": "sqlite"}


def main(argv: Sequence[str]) -> int:
    words, named = console.positional([word for word in argv if word != "--check"])
    options = console.words(named, DEFAULTS, __doc__ or "")
    store, data = RunStore(home() / options["runs"]), console.PROJECT / options["data"]
    if "--check" in argv:
        check(store, data, open_tracker(options["tracking"]))
    elif len(words) == 1:
        print("\n".join(lineage.of_run(find_run(words[0], store), store, data)))
    else:
        raise UserError("expected one RUN, or --check; --help says what they are")
    return 0


def check(store: RunStore, data: Path, tracker: Tracker) -> None:
    """Print every link that leads nowhere. Raises RunsLost (status 3) if there is one."""
    terminal.show("reading runs")
    runs = len(store.keys())
    broken, others = lineage.broken_links(store, data)
    broken += unpublished(store, tracker)
    if others:
        print(f"{len(others)} of {plural(runs, 'run')} cannot be looked at, such as {shown_line(others[0])}")
    for line in broken:
        print(shown_line(line))
    if broken:
        raise RunsLost(f"{plural(len(broken), 'broken link')}, each named above")
    print(f"{plural(runs, 'run')}: no broken link")


def unpublished(store: RunStore, tracker: Tracker) -> list[str]:
    """A line for each run that is noted as published and is not in MLflow."""
    there = tracker.published_keys()
    if there is None:
        return []
    noted = {key: store.published(key, tracker.address.name).get("run_id") for key in dict.fromkeys(store.keys())}
    return [
        f"{beginning(key)}: its MLflow run {run_id} is not in the store"
        for key, run_id in noted.items()
        if run_id and run_id not in there
    ]


if __name__ == "__main__":
    console.run(main)
