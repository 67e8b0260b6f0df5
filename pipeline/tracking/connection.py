"""The connection to one MLflow store: its client, the lock that writers hold, what its errors mean; and its SQLite file."""

from __future__ import annotations

import logging
import os
import re
import shlex
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from pipeline.cli.errors import UserError
from pipeline.tracking import front
from pipeline.tracking.address import NONE, Address, conceal

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

LOCK_SECONDS = 120
"""How long to wait for another writer of this machine."""
LOCKED_SECONDS = 20.0
"""How long to wait for a database that another program locks, as MLflow does."""

REQUIRED = {
    # A write that returns before it is done may fail unseen.
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    # A server that answered too late has done what it was asked; the same call again would create a second run.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    # Values that are too long are cut here, with a mark.
    "MLFLOW_TRUNCATE_LONG_VALUES": "true",
}
"""MLflow's variables that decide what becomes of a write: set, whatever the environment says."""
PREFERRED = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
"""MLflow's variables that the environment may set to another value."""


class TrackingUnavailable(UserError):
    """The store or its server did not take what was sent; results are on disk and can be sent later. Exit status 5."""

    exit_status = 5


class Connection:
    """Opens the store at `address` when it is first used. Safe to use from several threads."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._threads = threading.RLock()
        self._lock = FileLock(address.lock, timeout=LOCK_SECONDS, poll_interval=0.005, thread_local=False)
        self._client: MlflowClient | None = None
        self._experiments: dict[str, str] = {}

    @property
    def client(self) -> MlflowClient:
        """MLflow's client. The first use imports MLflow and creates the store if there is none."""
        if self._client is not None:  # without waiting for a thread that holds the lock
            return self._client
        with self._threads:
            if self._client is None:
                mlflow_client = _import_mlflow()
                with self._lock:
                    _prepare(self.address)
                    self._client = mlflow_client(self.address.uri, self.address.uri)
            return self._client

    @contextmanager
    def exclusive(self, what: str) -> Iterator[MlflowClient]:
        """The client, for one writer of this machine at a time: SQLite's own writers time each other out.

        Raises TrackingUnavailable, which says that it could not do `what`, if the store fails within the block.
        """
        if self.address.kind == NONE:
            raise UserError(f"tracking=none: there is no store to {what} in")
        with self._threads, self.failing(what):
            client = self.client
            with self._lock:
                file = self.address.database
                if file is not None and not file.exists():
                    # MLflow would go on writing to the deleted file.
                    raise TrackingUnavailable(
                        f"{file} is gone while this command ran, and with it what was recorded there; runs are sent"
                        " again from their records by: python -m pipeline.publish"
                    )
                yield client

    @contextmanager
    def failing(self, what: str) -> Iterator[None]:
        """Turn errors of the store or its server into TrackingUnavailable."""
        try:
            yield
        except _failures() as error:
            message = f"tracking at {self.address.shown}: could not {what}: {self.cause(error)}"
            raise TrackingUnavailable(message) from error

    def cause(self, error: BaseException) -> str:
        """The first line of an error, without the secrets of the address."""
        message = conceal(str(error), self.address.uri)
        if unanswered := re.search(r"Failed to establish a new connection: (?:\[Errno -?\d+\] )?([\w ]+)", message):
            return f"no connection ({unanswered[1].lower()}); is the server up?"
        return (message.strip() or type(error).__name__).splitlines()[0]

    def experiment(self, name: str) -> str:
        """The id of an experiment, which is created if there is none, with our views. Raises UserError if it was deleted."""
        if name in self._experiments:
            return self._experiments[name]
        found = self.client.get_experiment_by_name(name)
        if found and found.lifecycle_stage != "active":
            restore = f"python -m mlflow experiments restore --experiment-id {found.experiment_id}"
            address = f"MLFLOW_TRACKING_URI={shlex.quote(self.address.shown)}"
            raise UserError(f"the MLflow experiment {name!r} was deleted; restore it with: {address} {restore}")
        tags = front.experiment_tags()
        if found is None:
            location = self.address.artifacts.as_uri() if self.address.artifacts else None
            return self._experiments.setdefault(name, self.client.create_experiment(name, location, tags))
        for key in tags.keys() - found.tags.keys():  # made by a person, or by an earlier release
            self.client.set_experiment_tag(found.experiment_id, key, tags[key])
        return self._experiments.setdefault(name, found.experiment_id)


def _import_mlflow() -> type[MlflowClient]:
    """MLflow's client, kept quiet: it would report each call to its makers, print addresses and migrations, and block for
    four minutes when a server is down."""
    for name, value in PREFERRED.items():
        os.environ.setdefault(name, value)
    os.environ.update(REQUIRED)
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # It logs a traceback of what it also raises.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    return MlflowClient


def _failures() -> tuple[type[BaseException], ...]:
    """What a store or its server raises when it fails, as opposed to this program."""
    failures: tuple[type[BaseException], ...] = (OSError,)
    if "mlflow" in sys.modules:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        failures += (MlflowException, SQLAlchemyError)
    return failures


# --- the SQLite file: created whole or not at all, and checked before it is used


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


def _prepare(address: Address) -> None:
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
