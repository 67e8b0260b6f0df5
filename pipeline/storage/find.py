"""Find a run by its key or the first letters of it, its MLflow run id, its name or its folder."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.cli.errors import UserError
from pipeline.config.names import is_name, names
from pipeline.storage.store import KEY, RECORD, RunStore
from pipeline.training.result import RunResult

KEYS = "keys"
"""The column of tables with keys, separated by spaces. MLflow's ids would not help: a table may come with the project, and
every database has other ids."""


def beginning(key: str) -> str:
    """Return the first letters of a key, as shown in tables and messages; `find_run` needs at least six."""
    return key[:12]


def find_run(name_or_key: str, store: RunStore) -> RunResult:
    """Return the run with its arrays. Raises UserError if there is none, or more than one."""
    folder = Path(name_or_key).absolute()
    if KEY.fullmatch(folder.name) and (folder / RECORD).is_file():
        return RunStore(folder.parent).read(folder.name)
    keys = find_keys(name_or_key, store)
    if not keys:
        raise UserError(
            f"{name_or_key}: no such run in {store.root}; expected a key (or its first 6 letters or more), an MLflow run id, "
            "a name such as adam-w512-d1-s0 or adam-w512-d1-lr0.01-s0, or a run's folder"
        )
    if len(keys) > 1:
        results = [store.record(key) for key in keys]
        run_names = names(result.job for result in results)
        runs = "; ".join(f"{beginning(run.key)} ({run_names[run.job]}, {run.started[:16]})" for run in results)
        raise UserError(f"{name_or_key}: {len(keys)} runs have that name; expected one of the keys {runs}")
    return store.read(keys[0])


def find_keys(name_or_key: str, store: RunStore) -> list[str]:
    """Return the keys of all runs that match."""
    keys = store.keys()
    if re.fullmatch(r"[0-9a-f]{6,64}", name_or_key) and (
        by_key := [key for key in keys if key.startswith(name_or_key)]
    ):
        return by_key
    if re.fullmatch(r"[0-9a-f]{32}", name_or_key):
        return [key for key in keys if name_or_key in {ids.get("run_id") for ids in store.published_ids(key)}]
    return [result.key for result in store.records() if is_name(name_or_key, result.job)]
