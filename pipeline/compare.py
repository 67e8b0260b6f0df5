"""Write the report on finished runs: tables, charts and the page.

    python -m pipeline.compare [FOLDER …] [KEY=VALUE …]
    python -m pipeline.compare rank=macro_f1

Each FOLDER holds the runs of one command (results/baseline, results/sweep) or is a store of runs (runs). The default is every
folder in results/ with a sweep.json, or the store of runs if there is none. Folders that trained the same configurations with
different code are compared version against version. `rank` is the metric that orders the leaderboard, on the held-out samples:
accuracy, loss or one of training.metrics. `summary` is a folder for the files that `dvc exp show` and `dvc plots show` read. The
default of `tracking` is that of conf/.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli import console, terminal, ui_address
from pipeline.cli.errors import UserError, shown_line
from pipeline.config import rules
from pipeline.storage.sources import named_folders
from pipeline.tracking import NONE, tracker_for
from pipeline.tracking.address import home

if TYPE_CHECKING:
    from pipeline.report.evidence import Evidence

STEPS = 4

DEFAULTS = {"out": "reports", "data": "data/processed", "tracking": "", "rank": "accuracy", "summary": ""}


def main(argv: Sequence[str]) -> int:
    folders, options = console.read_arguments(argv, DEFAULTS, __doc__ or "")
    rules.parsed("tracking", options["tracking"] or NONE, rules.RULES["tracking.kind"])
    out, data = console.PROJECT / options["out"], console.PROJECT / options["data"]
    compare(named_folders(folders), out, data, options["tracking"], options["rank"])
    if options["summary"]:
        from pipeline.report.write import summarize

        summarize(out, console.PROJECT / options["summary"])
    return 0


def compare(folders: Sequence[Path], out: Path, data: Path, tracking: str = NONE, rank: str = "accuracy") -> None:
    """Write the report on the runs in `folders` to disk, the terminal and MLflow."""
    terminal.show("loading libraries", 0, STEPS)
    from pipeline.report import terminal as summary
    from pipeline.report.evidence import Evidence
    from pipeline.report.prose import limits, opening
    from pipeline.report.write import write
    from pipeline.storage.sources import read_sources

    terminal.show("reading runs", 1, STEPS)
    evidence = Evidence(read_sources(folders), ui_address.read(home()), rank, data)
    if evidence.finished.empty and not evidence.lost:
        raise UserError(limits.nothing_finished(evidence))
    terminal.show("computing statistics, drawing charts", 2, STEPS)
    files = write(evidence, out)
    terminal.show("sending the report to MLflow", 3, STEPS)
    publish(evidence, files, tracking)
    terminal.clear()
    summary.show(evidence)
    # `dvc exp run --queue` and `--temp` run in a clone that DVC removes afterwards.
    experiment = os.environ.get("DVC_EXP_NAME") if home() != console.PROJECT else None
    print(opening.closing(evidence, files["index.html"], experiment))
    terminal.suggest("make ui")


def publish(evidence: Evidence, files: dict[str, Path], tracking: str) -> None:
    """Attach the report to each sweep's parent run in MLflow. It is already on disk, so a failure is only a warning."""
    from pipeline.report import tables
    from pipeline.report import terminal as summary
    from pipeline.report.prose import limits

    sweeps = [sweep for source in evidence.sources for sweep in source.sweeps if sweep.parent_run_id]
    if tracking == NONE or not sweeps:
        return
    warning, metrics = " ".join(limits.notes(evidence)), tables.flat(tables.metrics(evidence))
    try:
        tracker_for(tracking).attach_report(sweeps, files, summary.note(evidence), metrics, warning)
    except Exception as error:  # the store and its libraries raise many types
        why = shown_line(" ".join(f"{type(error).__name__}: {error}".split()))
        print(f"warning: the report is not in MLflow ({why}); run compare again to publish it", file=sys.stderr)


if __name__ == "__main__":
    console.run(main)
