"""One process at a time, on a drive that several machines may share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.cli.errors import UserError

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time within the block, of all machines that share `folder`, which is made where it is not there.

    Raises UserError where it cannot be written.
    """
    from filelock import FileLock

    lock = FileLock(folder / LOCK, poll_interval=0.005)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        why = ": ".join(filter(None, (error.strerror, error.filename)))
        raise UserError(f"{folder}: cannot be written ({why})") from error
    try:
        yield
    finally:
        lock.release()
