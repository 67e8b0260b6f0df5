"""Stored runs as a table, for an analysis of one's own.

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
    """The runs in `folder`, a row each, in the order in which they were started.

    `folder` is a store of runs or a folder of results; a relative path is relative to the checkout. `sweep` keeps the runs of
    one sweep of that store: its id (or at least the first 6 letters), its question or its MLflow parent run.

    Columns: `key`; `name`, which carries the values that differ among these runs; `status` (`finished`, `diverged` or
    `failed`) and `reason`; `started` (UTC); every value of the configuration by its name on the command line, such as
    `optimizer.learning_rate`, with `model.width` where all layers have one; every figure as
    `pipeline.training.result.RunResult` explains it, such as `test/accuracy` (a share) or `overfitting_gap/accuracy`; digests
    of `data` and `source`. A value that a run does not have is missing.

    Runs that cannot be read, damaged or of another release, are left out. Raises UserError where there is no folder, or no
    such sweep.
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
