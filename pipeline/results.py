"""Stored runs as a table, for your own analysis.

from pipeline import results
runs = results.frame("results/sweep")
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.errors import UserError
from pipeline.config.names import names
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import find_sweep
from pipeline.tracking.address import home

if TYPE_CHECKING:
    import pandas as pd


def frame(folder: str | Path = "runs", sweep: str | None = None) -> pd.DataFrame:
    """Return the runs in `folder`, a row each, by start time.

    `folder` is a store of runs or a folder of results; a relative path is relative to the checkout. `sweep` selects one sweep
    of that store: its id (or at least the first 6 letters), its question or its MLflow parent run.

    Columns: `key`; `name`, with the values that differ among these runs; `status` (`finished`, `diverged`, `failed`, or
    `pruned` by a search) and `reason`; `started` (UTC); every value of the configuration by its key, such as
    `optimizer.learning_rate`, and `model.width` if all layers have the same; every metric (see
    `pipeline.training.result.RunResult`), such as `test/accuracy` in [0, 1]; digests of `data` and `source`. A value that a run
    does not have is missing.

    Damaged runs and those of another release are left out. Raises UserError if there is no such folder or sweep.
    """
    import pandas as pd

    store = RunStore(home() / folder)
    if not store.root.is_dir():
        raise UserError(f"{store.root}: no such folder; expected a store of runs or a folder of results")
    wanted = None if sweep is None else {*find_sweep(sweep, store, store.root)[0].keys}
    runs = [run for run in store.records() if wanted is None or run.key in wanted]
    called = names(run.job for run in runs)
    rows = [
        {
            "key": run.key,
            "name": called[run.job],
            "status": run.status,
            "reason": run.reason,
            "started": run.started,
            **{key: tuple(value) if isinstance(value, list) else value for key, value in run.job.flat().items()},
            "model.width": run.job.width,
            "model.depth": run.job.depth,
            **run.metrics,
            "data": run.identity["data"],
            "source": run.identity["source"],
        }
        for run in sorted(runs, key=lambda run: run.started)
    ]
    columns = ["key", "name", "status", "reason", "started"]
    table = pd.DataFrame(rows, columns=None if rows else columns)
    return table.assign(started=pd.to_datetime(table["started"], utc=True, errors="coerce", format="ISO8601"))
