"""The invariants that must hold after every fault."""

import os
import re
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import psutil

from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import Ledger, Sweep
from pipeline.tracking import process
from tests.unit.training.command import Place

LEFTOVER = re.compile(r"\..+\.\d+(\.(part|old))?|\..+\.(part|old)|.+\.new(-journal)?|.+-journal")


def assert_sound(place: Place, *, ended: bool = True) -> None:
    """Assert that no file under its final name is partial, no MLflow row is duplicated, no process or run is orphaned.

    `ended`: the command finished by itself or was repeated after the fault, so there may be no leftovers and no RUNNING
    runs. Right after a kill there may be both; the next command clears them away.
    """
    assert_files_whole(place.root)
    if (database := place.root / "mlflow.db").exists():
        assert_rows_single(database)
        if ended:
            assert_none_running(database)
    if ended:
        left = [path for path in place.root.rglob("*") if LEFTOVER.fullmatch(path.name)]
        assert left == [], "leftovers of the killed"
    assert_no_orphans(place.root)


def assert_files_whole(root: Path) -> None:
    for folder in {path.parent.parent for path in root.glob("**/result.json") if not path.parent.name.startswith(".")}:
        store = RunStore(folder)
        for result in store:  # reading checks every digest
            assert result.key
    for path in root.glob("**/sweep.json"):
        Sweep.read(path.parent, path.name)
    ledger = Ledger(RunStore(root / "runs"))
    assert len(list(ledger)) == len(list(ledger.folder.glob("*.json")))


def assert_rows_single(database: Path) -> None:
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True)) as connection:
        assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
        of_runs = """SELECT key.value, runs.experiment_id FROM runs
            JOIN tags AS key ON key.run_uuid = runs.run_uuid AND key.key = 'run.key'
            WHERE runs.lifecycle_stage = 'active'"""
        twice = [run for run, count in Counter(connection.execute(of_runs)).items() if count > 1]
        assert twice == [], "runs that stand twice in one experiment"
        rows = "SELECT run_uuid, key, step FROM metrics GROUP BY run_uuid, key, step HAVING count(*) > 1"
        assert connection.execute(rows).fetchall() == [], "metrics that stand twice"


def assert_none_running(database: Path) -> None:
    """Assert that no run is RUNNING unless its process is alive."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        running = connection.execute("SELECT run_uuid FROM runs WHERE status = 'RUNNING'").fetchall()
        tags = "SELECT key, value FROM tags WHERE run_uuid = ?"
        assert [run for run in running if process.dead(dict(connection.execute(tags, run)))] == []


def assert_no_orphans(root: Path) -> None:
    """Assert that no process started with a path in `root` is still alive."""
    living = [
        process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"]) if process.pid != os.getpid()
    ]
    assert [words for words in living if any(f"{root}/" in word for word in words)] == []
