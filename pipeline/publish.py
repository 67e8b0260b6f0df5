"""Send the runs in runs/ (or paths.runs of conf/) that an MLflow store lacks, with their sweeps.

    python -m pipeline.publish                           to the store of conf/ or MLFLOW_TRACKING_URI
    python -m pipeline.publish to=http://HOST:PORT       to another store: a server, or sqlite:////absolute/path.db
    python -m pipeline.publish from=results/sweep        the runs of one sweep's folder, possibly from another machine

Runs that the store has stay unchanged, so the command can be stopped and repeated. Runs that someone deleted there come back. Put
a password into MLFLOW_TRACKING_URI, not into the command, which every user of the machine can see.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence

from pipeline.cli import console, terminal
from pipeline.cli.errors import RunsLost, UserError, shown_line
from pipeline.cli.formatting import duration, plural
from pipeline.storage.record import OtherRelease, UnreadableRun
from pipeline.storage.store import RunStore
from pipeline.tracking import NONE, SERVER, SQLITE, Tracker, TrackingUnavailable, open_tracker, sync, tracker_for
from pipeline.tracking.address import resolve, runs_folder

DEFAULTS = {"to": "", "from": ""}


def main(argv: Sequence[str]) -> int:
    values = console.read_options(argv, DEFAULTS, __doc__ or "")
    folder = runs_folder(values["from"])
    if not folder.is_dir():
        raise UserError(f"from={values['from'] or folder}: no such folder of runs")
    publish(RunStore(folder), target(values["to"]))
    return 0


def target(to: str) -> Tracker:
    """The store at the address `to`; by default that of MLFLOW_TRACKING_URI or conf/."""
    if to:
        kind = SQLITE if to.startswith("sqlite") else SERVER
        environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
        return open_tracker(kind, to, environment=environment)
    tracker = tracker_for("")
    if tracker.address.kind == NONE:
        raise UserError("conf/ has tracking: none; give an address with to=ADDRESS")
    return tracker


def publish(store: RunStore, tracker: Tracker) -> None:
    """Send the runs that the store lacks.

    Raises TrackingUnavailable if the store did not take them all, RunsLost if a run could not be read.
    """
    began, where = time.monotonic(), tracker.address.shown
    terminal.show("reading runs")
    groups = sync.groups(store)
    damaged = _report_unreadable([error for group in groups for error in sync.find_unsent(store, tracker, group)])
    if running := sum(group.running for group in groups):
        print(f"left out: {plural(running, 'sweep')} in training (the training command sends its runs)")
    sweeps = [group for group in groups if group.sweep and not group.running]
    runs, of_sweeps = ({key for group in some for key in group.keys} for some in (groups, sweeps))
    left = {key for group in groups for key in group.unsent}
    unsent, there = len(left), len(runs) - len(left)
    counts = f"{plural(len(sweeps), 'sweep')}, {plural(len(runs - of_sweeps), 'single run')}"
    print(f"{plural(len(runs), 'run')} ({counts}): {there} at {where} already, {unsent or 'none'} to send", flush=True)
    terminal.show(f"sending to {where}", 0, unsent)

    def sent(keys: Iterable[str]) -> None:
        left.difference_update(keys)
        print(f"[{unsent - len(left)}/{unsent} runs]", flush=True)
        terminal.show(f"sending to {where}", unsent - len(left), unsent)

    try:
        for group in groups:
            sync.send(store, tracker, group, sent)
    except TrackingUnavailable as error:
        what = f"{len(left)} of {plural(unsent, 'run')}" if left else "the summary of a sweep"
        raise TrackingUnavailable(f"not in MLflow yet: {what} ({error}); the same command does the rest") from error
    if unsent:
        print(f"sent {plural(unsent, 'run')} in {duration(time.monotonic() - began)}; {there} were there already")
        variable = f"MLFLOW_TRACKING_URI={where} " if tracker.address != resolve(SQLITE, None) else ""
        print(f"to add the report to each sweep: {variable}python -m pipeline.compare")
    if damaged:
        raise RunsLost(f"{plural(damaged, 'run')} could not be read and were not sent, each named above")


def _report_unreadable(errors: Sequence[UnreadableRun]) -> int:
    """Print the runs that cannot be read; return how many are damaged. Runs of another release do not count as damaged."""
    other = [str(error) for error in errors if isinstance(error, OtherRelease)]
    if other:
        print(f"{plural(len(other), 'run')} of another release of this project left out: {shown_line(other[0])}")
    damaged = sorted(str(error) for error in errors if not isinstance(error, OtherRelease))
    for message in damaged:
        print(f"warning: {shown_line(message)}", file=sys.stderr)
    return len(damaged)


if __name__ == "__main__":
    console.run(main)
