"""Folders that are replaced whole, by one process at a time, on a drive that several machines may share.

A folder with content cannot be replaced in one step: the old one is set aside, then the new one takes its name. Whoever
is killed in between leaves both, and the next one to hold the lock puts the old one back.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.cli.errors import UserError
from pipeline.data.files import remove, shown

LOCK = ".lock"
_LEFT = re.compile(r"\.(.+)\.(?:part|old)")


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


def has_writers(folder: Path) -> bool:
    """Whether `folder` is one that processes lock to write to it, this one too."""
    return (folder / LOCK).exists() and os.access(folder, os.W_OK)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path for a folder that becomes `path` when the block ends without an error. For who holds the lock."""
    temporary, aside = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        recover(path)
        yield temporary
        if path.exists():
            os.rename(path, aside)
        os.rename(temporary, path)
    except OSError as error:
        raise UserError(f"{shown(path)}: cannot be written ({error.strerror or error})") from error
    finally:
        recover(path)


def discard(path: Path) -> None:
    """Remove a folder. Whoever is killed at it leaves what `recover_all` removes. For who holds the lock."""
    temporary, _ = _beside(path)
    os.rename(path, temporary)
    remove(temporary)


def recover(path: Path) -> None:
    """Mend what a killed process left of replacing `path`. For who holds the lock."""
    temporary, aside = _beside(path)
    if path.exists():
        remove(aside)
    elif aside.exists():
        os.rename(aside, path)
    remove(temporary)


def recover_all(folder: Path) -> None:
    """Mend what killed processes left in `folder`. For who holds the lock."""
    for name in [entry.name for entry in folder.iterdir()]:
        if match := _LEFT.fullmatch(name):
            recover(folder / match[1])


def is_aside(path: Path) -> bool:
    """Whether `path` is being replaced, or its writer was killed at that."""
    return _beside(path)[1].exists()


def names(folder: Path) -> list[str]:
    """What is in `folder`, and what is being replaced in it."""
    # Twice, since what is renamed meanwhile may be missed once.
    listed = {entry.name for _ in range(2) for entry in folder.iterdir()}
    replaced = {match[1] for name in listed if (match := _LEFT.fullmatch(name))}
    return [name for name in {*listed, *replaced} if not name.startswith(".")]


def _beside(path: Path) -> tuple[Path, Path]:
    """Where the new folder is written, and where the old one is meanwhile."""
    return path.with_name(f".{path.name}.part"), path.with_name(f".{path.name}.old")
