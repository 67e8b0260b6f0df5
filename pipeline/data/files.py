"""Atomic writes (to a temporary name in the same folder, then renamed) and a lock for a folder."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from pipeline.cli.errors import UserError

LOCK = ".lock"
_TEMPORARY = re.compile(r"\..+\.(\d{1,9})\.(?:part|old)")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path for a file or a folder; it is renamed to `path` if the block succeeds. Raises UserError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(path.parent)
        yield temporary
        _replace(temporary, path)
    except OSError as error:
        raise UserError(f"{display_path(path)}: cannot be written ({_reason(error, path)})") from error
    finally:
        remove(temporary)


def _reason(error: OSError, path: Path) -> str:
    """Return what went wrong, and where if in a parent of `path` (a file instead of a folder, a read-only folder)."""
    where = str(error.filename or "")
    above = where and Path(where) in path.parents
    return f"{error.strerror or error}: {display_path(Path(where))}" if above else error.strerror or str(error)


def _replace(temporary: Path, path: Path) -> None:
    if not (temporary.is_dir() and path.is_dir()):
        temporary.replace(path)
        return
    aside = path.with_name(f".{path.name}.{os.getpid()}.old")  # rename() replaces no folder that has content
    path.rename(aside)
    try:
        temporary.rename(path)
    except OSError:
        aside.rename(path)
        raise
    remove(aside)


def remove(path: Path) -> None:
    """Remove a file or a folder; ignore errors."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def clear_leftovers(folder: Path) -> None:
    """Remove temporary files in `folder` whose processes have ended."""
    names = os.listdir(folder) if folder.is_dir() else []
    for match in filter(None, map(_TEMPORARY.fullmatch, names)):
        from psutil import pid_exists  # type: ignore[import-untyped]  # 0.04 s

        if not pid_exists(int(match[1])):
            remove(folder / match[0])


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Allow one process at a time in the block, across all machines that share `folder`, which is created if missing.

    Raises UserError if it cannot be written.
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


def save(path: Path, array: np.ndarray) -> None:
    """Save `array` as a memory-mappable `.npy` file. Unlike `np.save`, it raises an OSError with the cause if the disk is full."""
    array = np.ascontiguousarray(array)
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)


def display_path(path: Path) -> str:
    """Return `path` as a user would type it: relative to the working directory if that is near and shorter."""
    try:
        relative = os.path.relpath(path)
    except (ValueError, FileNotFoundError):  # another drive; a deleted working directory
        return str(path)
    return str(path) if relative.startswith("../../") else min(str(path), relative, key=len)
