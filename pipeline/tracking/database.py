"""The SQLite file behind MLflow: created whole or not at all, and checked before it is used."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shlex
import sqlite3
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.errors import UserError

if TYPE_CHECKING:
    from pipeline.tracking.address import Address

HEADER = b"SQLite format 3\0"
LOCK_SECONDS = 120.0
"""How long to wait for a database that another program locks."""
BRIEF_SECONDS = 2.0
"""How long to wait without saying so."""
_REVISION = re.compile(r"""^(down_)?revision\b[^=\n]*=\s*(.*)$""", re.MULTILINE)


class TrackingUnavailable(UserError):
    """The store or its server did not take what was sent; results are on disk and can be sent later. Exit status 5."""

    exit_status = 5


class StoreDamaged(UserError):
    """The tracking store is there and cannot be used; the message names the command that mends it."""


def check(database: Path) -> None:
    """Refuse a file that MLflow would fail on, or silently replace by an empty store. A missing file is fine.

    Reads the file only, and does not import MLflow: 5 ms, and 70 ms for a store of 3,000 runs. Raises StoreDamaged, and
    TrackingUnavailable if another program locks the database for too long.
    """
    if not database.exists():
        _check_place(database)
        return
    move = f"mv {shlex.quote(str(database))} {shlex.quote(f'{database}.damaged')}"
    aside = f"set it aside with: {move} (a new store is made by the next run; finished runs stay in runs/)"
    _check_file(database, aside)
    wait_until_free(database)
    try:
        tables, revisions, runs = _read_schema(database)
    except sqlite3.Error as error:
        if _locked(error):
            raise TrackingUnavailable(f"{database}: {_HELD}") from error
        raise StoreDamaged(f"{database}: damaged ({error}); {aside}") from error
    if "runs" not in tables and "experiments" not in tables:
        raise StoreDamaged(f"{database}: an SQLite database, but not one of MLflow; {aside}")
    _check_revision(database, revisions, runs, aside)


def _check_place(database: Path) -> None:
    """Whether a database can be made there."""
    if database.is_symlink():
        raise UserError(
            f"{database}: a link to {os.path.realpath(database)}, which is not there; bring that back (is its drive"
            " mounted?), or remove the link to begin a new store"
        )
    folder = next((parent for parent in database.parents if parent.exists()), database.parent)
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        # SQLAlchemy would try to open it for 100 s.
        raise UserError(f"{database}: cannot be made, {folder} is not a folder that this user may write to")


def _check_file(database: Path, aside: str) -> None:
    if not database.is_file():
        raise StoreDamaged(f"{database}: not a file; {aside}")
    try:
        with open(database, "rb") as file:
            header = file.read(len(HEADER))
    except OSError as error:
        raise UserError(f"{database}: cannot be read ({error.strerror})") from error
    if not header:
        raise StoreDamaged(f"{database}: empty (0 bytes); remove it with: rm {shlex.quote(str(database))}")
    if header != HEADER:
        raise StoreDamaged(f"{database}: not an SQLite database (it starts with {header[:8]!r}); {aside}")
    if not os.access(database, os.W_OK) or not os.access(database.parent, os.W_OK):
        raise UserError(f"{database}: this user may not write to it and its folder; tracking=none trains without it")


def _check_revision(database: Path, revisions: list[str], runs: int, aside: str) -> None:
    """Whether the tables are those of the installed MLflow. `revisions`: what the database says, one where it is whole."""
    if len(revisions) != 1:
        raise StoreDamaged(f"{database}: its creation was interrupted (no schema version); {aside}")
    known, newest = _schema()
    if not known or revisions == [newest]:
        return
    if revisions[0] not in known:
        raise StoreDamaged(
            f"{database}: written by a newer MLflow than the one installed (schema {revisions[0]} is unknown to it);"
            f" use that version, or {aside}"
        )
    if runs == 0:
        raise StoreDamaged(f"{database}: its creation was interrupted (schema {revisions[0]}, no runs); {aside}")
    upgrade = f"{shlex.quote(sys.executable)} -m mlflow db upgrade {shlex.quote(f'sqlite:///{database}')}"
    raise StoreDamaged(
        f"{database}: its schema {revisions[0]} is older than this MLflow's {newest}; keep a copy, then: {upgrade}"
    )


_HELD = "another program holds it (database is locked); nothing is wrong with it, try again when that program is done"


def _locked(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def wait_until_free(database: Path) -> None:
    """Wait, and say so, while another program locks the database. Raises TrackingUnavailable after LOCK_SECONDS.

    MLflow would wait 20 s, and report a failed write.
    """
    began, printed = time.monotonic(), False
    while _is_held(database):
        waited = time.monotonic() - began
        if waited >= LOCK_SECONDS:
            raise TrackingUnavailable(f"{database}: {_HELD}")
        if waited >= BRIEF_SECONDS and not printed:
            printed = True
            print(f"{database}: another program holds it; waiting up to {LOCK_SECONDS:.0f} s", file=sys.stderr)
        time.sleep(0.05)


def _is_held(database: Path) -> bool:
    try:
        connection = sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, timeout=0.1, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        finally:
            connection.close()
    except sqlite3.Error as error:
        return _locked(error)  # what else is wrong is for those who use it to say
    return False


def _read_schema(database: Path) -> tuple[set[str], list[str], int]:
    """Tables, schema versions and number of runs, after SQLite's own check of the file. `mode=rw` does not create,
    and lets SQLite roll back what a killed writer left half-written."""
    connection = sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, timeout=20)
    try:
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(" ".join(verdict.split()))
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        revisions: list[str] = []
        if "alembic_version" in tables:
            revisions = [row[0] for row in connection.execute("SELECT version_num FROM alembic_version")]
        runs = connection.execute("SELECT count(*) FROM runs").fetchone()[0] if "runs" in tables else 0
        return tables, revisions, runs
    finally:
        connection.close()


@functools.cache
def _schema() -> tuple[frozenset[str], str]:
    """Schema versions that the installed MLflow knows and its newest, read from its migrations without importing it
    (importing takes 3 s, and a store that cannot be used should be refused before that). Empty where that cannot be read."""
    spec = importlib.util.find_spec("mlflow")
    known: set[str] = set()
    followed: set[str] = set()
    for package in (spec and spec.submodule_search_locations) or ():
        for file in Path(package, "store", "db_migrations", "versions").glob("*.py"):
            for down, value in _REVISION.findall(file.read_text(encoding="utf-8")):
                (followed if down else known).update(re.findall(r"""["']([^"']+)["']""", value))
    heads = known - followed
    return (frozenset(known), heads.pop()) if len(heads) == 1 else (frozenset(), "")


def prepare(address: Address) -> None:
    """Create the database if there is none, first under a temporary name. The caller holds the lock; MLflow is imported.

    MLflow alone creates it in place, migration by migration: several processes at once break it for good, as does
    a kill.
    """
    database, artifacts = address.database, address.artifacts
    if database is None or artifacts is None:
        return
    check(database)
    if database.exists():
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for leftover in database.parent.glob(f"{database.name}.*.new*"):
        leftover.unlink()
    temporary = database.with_name(f"{database.name}.{os.getpid()}.new")
    try:
        SqlAlchemyStore(f"sqlite:///{temporary}", artifacts.as_uri()).engine.dispose()
        os.replace(temporary, database)
    finally:
        temporary.unlink(missing_ok=True)
