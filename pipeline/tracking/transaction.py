"""All that is recorded of a run in one transaction of SQLite, in place of MLflow's one for each of its own steps."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


@contextmanager
def one_transaction(client: MlflowClient) -> Iterator[None]:
    """What this thread records by `client` until the block ends is there as a whole or not at all.

    MLflow opens and commits eight sessions for a run, and reads the run back in each. Here they are one session, whose
    commits wait. Only for a run that is new: what MLflow does about a value that is there already undoes a session.
    A client whose store has no sessions (a server, another MLflow) records as ever.
    """
    store: Any = getattr(getattr(client, "_tracking_client", None), "store", None)
    opened = getattr(store, "ManagedSessionMaker", None)
    if opened is None:
        yield
        return
    thread = threading.get_ident()
    with opened(read_only=False) as session:

        def shared(read_only: bool = True) -> AbstractContextManager[Any]:
            return nullcontext(session) if threading.get_ident() == thread else opened(read_only=read_only)

        commit, session.commit = session.commit, session.flush
        store.ManagedSessionMaker = shared
        try:
            yield
        finally:
            store.ManagedSessionMaker, session.commit = opened, commit
