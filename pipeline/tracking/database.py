"""The SQLite file behind MLflow: created whole or not at all, and checked before it is used."""

from __future__ import annotations

import os
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.errors import UserError

if TYPE_CHECKING:
    from pipeline.tracking.address import Address

LOCKED_SECONDS = 20.0
"""How long to wait for a database that another program locks, as MLflow does."""


class TrackingUnavailable(UserError):
    """The store or its server did not take what was sent; results are on disk and can be sent later. Exit status 5."""

    exit_status = 5


def check(database: Path) -> None:
    """Refuse a file that MLflow would fail on, or silently replace by an empty store. A missing file is fine.

    Reads the file only, and does not import MLflow: 5 ms, and 70 ms for a store of 3,000 runs. Raises UserError with the
    command that mends it, or TrackingUnavailable if another program locks the database for too long.
    """
    if not database.exists():
        folder = next((parent for parent in database.parents if parent.exists()), database.parent)
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            # SQLAlchemy would try to open it for 100 s.
            raise UserError(f"{database}: cannot be made, {folder} is not a folder that this user may write to")
        return
    if not os.access(database, os.W_OK) or not os.access(database.parent, os.W_OK):
        raise UserError(f"{database}: this user may not write to it and its folder; tracking=none trains without it")
    try:
        fault = _fault(database)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise TrackingUnavailable(
                f"{database}: another program holds it (database is locked); nothing is wrong with it, try again when"
                " that program is done"
            ) from error
        fault = str(error)
    if fault:
        move = f"mv {shlex.quote(str(database))} {shlex.quote(f'{database}.damaged')}"
        raise UserError(
            f"{database}: not a whole database of MLflow ({fault}); set it aside with: {move} (a new one is made by the"
            " next run; finished runs stay in runs/)"
        )


def _fault(database: Path) -> str:
    """What SQLite's own check, or the lack of a schema version, says against a file; empty if it is whole. `mode=rw` does
    not create, and lets SQLite roll back what a killed writer left half-written."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, timeout=LOCKED_SECONDS)) as connection:
        verdict = " ".join(connection.execute("PRAGMA quick_check(1)").fetchone()[0].split())
        if verdict != "ok":
            return verdict
        versions = connection.execute("SELECT count(*) FROM alembic_version").fetchone()[0]
        return "" if versions == 1 else "its creation was interrupted: no schema version"


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

    temporary = database.with_name(f"{database.name}.new")

    def remove() -> None:
        for leftover in temporary.parent.glob(f"{temporary.name}*"):  # its journal, too
            leftover.unlink()

    try:
        remove()  # what a kill left
        SqlAlchemyStore(f"sqlite:///{temporary}", artifacts.as_uri()).engine.dispose()
        os.replace(temporary, database)
    finally:
        remove()
