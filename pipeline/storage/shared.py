"""Files and folders that are whole or not there, on a drive that several machines may write to.

What guards them is `rename`, which a local disk and NFS alike do at once and whole. No lock is needed for that: NFS, where
it locks at all, locks files that are open for writing, and a lock on a folder reaches no further than its machine. The
lock here only spares the processes of one machine from doing the same twice.
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from pipeline.cli.errors import UserError
from pipeline.data.files import remove, shown

_TEMPORARY = re.compile(r"\.(.+)\.\d+-(\d+)@(.*)\.part")
_ASIDE = re.compile(r"\.(.+)\.old")

FORGOTTEN_SECONDS = 86_400
"""After so long, what another machine left half written is nobody's any more."""

NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF}
"""What drives answer that have no locks, or none for folders."""

TRIES = 100

LOOKS = 3
"""What is renamed while it is looked for may be missed under both names, but hardly as often as this."""

LOOKS_WHERE_BUSY = 8
"""A millisecond apart, in a folder that somebody writes to just now."""

QUICK = 0.005
"""Seconds that looking for leftovers may take each time something is written."""

_numbers = count()
_cleared: dict[Path, tuple[float, float]] = {}
"""When a folder was last looked through for leftovers, and how long that took."""
_told: set[Path] = set()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One writer of this machine at a time below `folder`, which is made where it is not there. The lock is on the folder
    itself, so that it leaves no file, and ends with its process. On a drive without locks nobody waits, and a line says so."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}: {error.filename})") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise UserError(f"{folder}: cannot be locked ({error.strerror})") from error
            if folder not in _told:
                _told.add(folder)
                print(
                    f"warning: {folder}: this drive has no locks ({error.strerror}); results stay whole, "
                    "but two commands that train the same run at once both train it",
                    file=sys.stderr,
                )
        yield
    finally:
        os.close(lock)


@contextmanager
def whole(path: Path, within: Path | None = None) -> Iterator[Path]:
    """A temporary path to write a file or a folder to; it becomes `path` when the block ends without an error.

    Of several that write the same one, each is there for a while, and one of them stays. `within`: where to write it
    first, if its own folder may be replaced meanwhile, which then is no reason to make it. Raises UserError.
    """
    temporary = (within or path.parent) / f".{path.name}.{next(_numbers)}-{os.getpid()}@{_host()}.part"
    try:
        if within is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            _clear_now_and_then(path.parent)
        yield temporary
        _put(temporary, path)
    except OSError as error:
        raise UserError(f"{shown(path)}: cannot be written ({_reason(error, path)})") from error
    finally:
        remove(temporary)


def _reason(error: OSError, path: Path) -> str:
    where = str(error.filename or "")
    above = where and Path(where) in path.parents
    return f"{error.strerror or error}: {shown(Path(where))}" if above else error.strerror or str(error)


def _put(temporary: Path, path: Path) -> None:
    """Rename over what is there. A folder with content gives way in two steps; whoever comes between them puts it back."""
    if not temporary.is_dir():
        os.replace(temporary, path)
        return
    aside = _aside(path)
    for _ in range(TRIES):
        try:
            os.rename(temporary, path)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and path.is_dir() and not temporary.exists():
                break  # NFS asked twice, and the first time it was done
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            break
        _discard(aside)
        with suppress(OSError):  # another one was quicker: once more
            os.rename(path, aside)
    else:
        raise OSError(errno.EBUSY, "others write it all the time", str(path))
    _discard(aside)


def _discard(aside: Path) -> None:
    """Renamed first: under its own name it is whole, for whoever puts it back."""
    trash = aside.with_name(f"{aside.name}.{next(_numbers)}-{os.getpid()}@{_host()}.part")
    with suppress(OSError):
        os.rename(aside, trash)
        remove(trash)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def put_back(path: Path) -> bool:
    """Where a folder's writer is, or was killed, between the two steps: what was there before is there again."""
    try:
        os.rename(_aside(path), path)
    except OSError:
        return False
    return True


def holds(folder: Path, name: str) -> bool:
    """Whether there is a file `name` in `folder`, which others may replace at this moment."""
    missed, looks = 0, LOOKS
    while missed < looks:
        if (folder / name).is_file():
            return True
        if not put_back(folder):
            missed += 1
            if busy(folder.parent):
                looks = LOOKS_WHERE_BUSY
                time.sleep(0.001)
    return False


def busy(folder: Path) -> bool:
    """Whether somebody writes in `folder` just now."""
    try:
        return time.time() - folder.stat().st_mtime < 1
    except OSError:
        return False


def names(folder: Path) -> list[str]:
    """What is in `folder`, and what may be since somebody is replacing it: ask `holds` of each."""
    listed = {entry.name for _ in range(2) for entry in folder.iterdir()}
    on_their_way = {match[1] for name in listed if (match := _ASIDE.fullmatch(name) or _TEMPORARY.fullmatch(name))}
    return [name for name in {*listed, *on_their_way} if not name.startswith(".")]


def _clear_now_and_then(folder: Path) -> None:
    """Every time in a small folder; in one with ten thousands of runs for a hundredth of the time at most."""
    when, took = _cleared.get(folder, (0.0, 0.0))
    begin = time.monotonic()
    if begin - when > 100 * (took - QUICK):
        clear_leftovers(folder)
        _cleared[folder] = time.monotonic(), time.monotonic() - begin


def clear_leftovers(folder: Path) -> None:
    """Remove what a killed process left half written in `folder`. Of another machine's nobody knows whether it lives:
    that goes when it is old."""
    for entry in folder.iterdir():
        if match := _TEMPORARY.fullmatch(entry.name):
            gone = not _alive(int(match[2])) if match[3] == _host() else _forgotten(entry)
        elif match := _ASIDE.fullmatch(entry.name):
            put_back(folder / match[1])
            gone = True
        else:
            continue
        if gone:
            remove(entry)


def _forgotten(entry: Path) -> bool:
    try:
        return time.time() - entry.stat().st_mtime > FORGOTTEN_SECONDS
    except OSError:
        return False


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def _host() -> str:
    return re.sub(r"[^0-9A-Za-z-]", "-", platform.node())
