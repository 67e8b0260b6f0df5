"""One process at a time, on a drive that several machines may share."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.cli.errors import UserError

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time within the block, of all machines that share `folder`, which is made where it is not there.

    Raises UserError where it cannot be written or the drive has no locks.
    """
    from filelock import FileLock

    lock = FileLock(folder / LOCK, poll_interval=0.005)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP):
            what = f"this drive has no file locks ({error.strerror}); name a folder on another one"
        else:
            what = f"cannot be written ({error.strerror}: {error.filename})"
        raise UserError(f"{folder}: {what}") from error
    try:
        yield
    finally:
        lock.release()
