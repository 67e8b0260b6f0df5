"""The report of a comparison on the parent runs of its sweeps."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.cli.errors import shown_line
from pipeline.storage.sweeps import Sweep
from pipeline.tracking import open_tracker, views
from pipeline.tracking.describe import NOTE


def attach(
    tracking: str,
    sweeps: Sequence[Sweep],
    files: Mapping[str, Path],
    note: str,
    metrics: Mapping[str, float],
    warning: str,
) -> None:
    """Put files, note and metrics on each sweep's parent run. They are on disk already: trouble costs a warning, no more."""
    try:
        tracker = open_tracker(tracking)
        # A record has the id of the store it was trained with; in another store the parent run has an id of its own.
        notes = {
            (sweep.id and tracker.parent(sweep.name, sweep.id)) or sweep.parent_run_id: sweep.note for sweep in sweeps
        }
        for parent, own in notes.items():
            if parent and (run := tracker.run(parent)):
                tracker.add_files(parent, {f"report/{name}": path for name, path in files.items()})
                tracker.log_metrics(parent, metrics)
                text = "\n\n".join(filter(None, [own, views.links(run.info.experiment_id, parent), note]))
                tracker.set_tags(parent, {NOTE: text, "warning": warning})
    except Exception as error:  # whatever the store or its libraries raise
        why = shown_line(" ".join(f"{type(error).__name__}: {error}".split()))
        print(f"warning: the report is not in MLflow ({why}); run compare again to publish it", file=sys.stderr)
