"""Remove what is no longer needed from the store of runs; without --yes, only list it, with sizes in bytes.

    python -m pipeline.clean [only=unneeded,old,deleted,damaged,checkpoints] [--yes]

Runs in a folder of results and runs of registered models stay. Do not use this while a sweep trains.
The defaults of `runs` and `tracking` are those of conf/.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from itertools import groupby

from pipeline.cli import console, terminal
from pipeline.cli.errors import shown_line
from pipeline.cli.formatting import plural
from pipeline.config import rules
from pipeline.data.files import locked
from pipeline.storage.cleaning import REASONS, Removable, removable, remove
from pipeline.storage.store import RunStore
from pipeline.tracking import Tracker, tracker_for
from pipeline.tracking.address import runs_folder

DEFAULTS = {"only": ",".join(REASONS), "runs": "", "tracking": ""}


def main(argv: Sequence[str]) -> int:
    options = console.read_options([word for word in argv if word != "--yes"], DEFAULTS, __doc__ or "")
    reasons = options["only"].split(",")
    for reason in reasons:
        rules.parsed("only", reason, rules.choice(REASONS))
    store, tracker = RunStore(runs_folder(options["runs"])), tracker_for(options["tracking"])
    deleted = tracker.deleted_keys() if tracker.exists else set()
    registered = tracker.registered_keys() if tracker.exists else set()
    terminal.show("reading runs")
    with locked(store.root):
        items = [item for item in removable(store, deleted, registered) if item.reason in reasons]
        total = show(items)
        if "--yes" in argv:
            remove(store, items)
            print(f"removed {plural(len(items), 'entry', 'entries')}, {total:,} bytes")
        elif items:
            print(f"{plural(len(items), 'entry', 'entries')}, {total:,} bytes; --yes removes them")
    if advice := of_mlflow(tracker):
        print(advice)
    return 0


def show(items: Sequence[Removable]) -> int:
    """Print the items by reason, a line each, and return their total size in bytes."""
    total = 0
    for reason, group in groupby(items, key=lambda item: item.reason):
        print(f"{reason}: {REASONS[reason]}")
        for item in group:
            size = item.bytes
            total += size
            print(shown_line(f"{size:>15,} bytes  {item.name}"))
    if not items:
        print("nothing to remove")
    return total


def of_mlflow(tracker: Tracker) -> str:
    """Return how to remove what was deleted in MLflow; empty without a database."""
    if tracker.address.database is None:
        return ""
    uri = shlex.quote(tracker.address.uri)
    command = f"MLFLOW_TRACKING_URI={uri} {shlex.quote(sys.executable)} -m mlflow gc --backend-store-uri {uri}"
    return f"MLflow keeps what was deleted there until this command removes it:\n  {command}"


if __name__ == "__main__":
    console.run(main)
