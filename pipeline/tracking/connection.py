"""The connection to an MLflow store: its client, its write lock and its errors."""

from __future__ import annotations

import logging
import os
import re
import shlex
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock

from pipeline.cli.errors import UserError
from pipeline.tracking import database, front
from pipeline.tracking.address import NONE, Address, conceal
from pipeline.tracking.database import TrackingUnavailable

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

LOCK_SECONDS = 120
"""How long to wait for another writer on this machine."""

REQUIRED = {
    # An asynchronous write may fail unnoticed.
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    # A request that timed out may have succeeded; a retry would create a second run.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    # `describe.shorten` cuts long values before, with a mark.
    "MLFLOW_TRUNCATE_LONG_VALUES": "true",
}
"""MLflow's variables for writes; they override the environment."""
PREFERRED = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
"""Defaults for MLflow's variables; the environment overrides them."""


class Connection:
    """Opens the store at `address` on first use. Safe to use from several threads."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._threads = threading.RLock()
        self._lock = FileLock(address.lock, timeout=LOCK_SECONDS, poll_interval=0.005, thread_local=False)
        self._client: MlflowClient | None = None
        self._experiments: dict[str, str] = {}

    @property
    def client(self) -> MlflowClient:
        """MLflow's client. The first use imports MLflow and creates a missing store."""
        if self._client is not None:  # without waiting for a thread that holds the lock
            return self._client
        with self._threads:
            if self._client is None:
                mlflow_client = _import_mlflow()
                with self._lock:
                    database.prepare(self.address)
                    self._client = mlflow_client(self.address.uri, self.address.uri)
            return self._client

    @contextmanager
    def exclusive(self, what: str) -> Iterator[MlflowClient]:
        """Yield the client to one writer on this machine at a time: concurrent SQLite writers time out.

        Raises TrackingUnavailable, whose message names `what`, if the store fails within the block.
        """
        if self.address.kind == NONE:
            raise UserError(f"tracking=none: there is no store to {what} in")
        with self._threads, self.failing(what):
            client = self.client
            with self._lock:
                file = self.address.database
                if file is not None and not file.exists():
                    # MLflow would keep writing to the deleted file.
                    raise TrackingUnavailable(
                        f"{file} was deleted while this command ran, with everything recorded in it; to send the runs"
                        " again: python -m pipeline.publish"
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
        """Return the first line of an error, without the secrets of the address."""
        message = conceal(str(error), self.address.uri)
        if unanswered := re.search(r"Failed to establish a new connection: (?:\[Errno -?\d+\] )?([\w ]+)", message):
            return f"no connection ({unanswered[1].lower()}); is the server up?"
        return (message.strip() or type(error).__name__).splitlines()[0]

    def experiment(self, name: str) -> str:
        """Return the id of an experiment; create it with our views if it is missing. Raises UserError if it was deleted."""
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
        for key in tags.keys() - found.tags.keys():  # created by hand or by an earlier release
            self.client.set_experiment_tag(found.experiment_id, key, tags[key])
        return self._experiments.setdefault(name, found.experiment_id)


def _import_mlflow() -> type[MlflowClient]:
    """Import MLflow's client without its telemetry, its output, and the retries that block for four minutes when a server
    is down."""
    for name, value in PREFERRED.items():
        os.environ.setdefault(name, value)
    os.environ.update(REQUIRED)
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # This logger prints tracebacks of errors that are raised anyway.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    return MlflowClient


def _failures() -> tuple[type[BaseException], ...]:
    """Return the exceptions that a failing store or server raises, as opposed to this program."""
    failures: tuple[type[BaseException], ...] = (OSError,)
    if "mlflow" in sys.modules:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        failures += (MlflowException, SQLAlchemyError)
    return failures
