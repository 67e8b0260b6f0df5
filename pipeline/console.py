"""What every stage shares towards the person at the terminal: `key=value` words, errors in one line, exit statuses."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.config.rules import nearest
from pipeline.errors import UserError, shown_line, without_logins

VERBOSE = ("-v", "--verbose")

PROJECT = Path(__file__).resolve().parent.parent
"""The checkout: what relative paths of the configuration are relative to."""


def words(argv: Sequence[str], defaults: dict[str, str], description: str) -> dict[str, str]:
    """Read `key=value` words, the grammar of `python -m pipeline.train`, for stages with a handful of keys.

    `--help` prints `description` and the keys, and ends the program. Raises UserError on an unknown key.
    """
    if {"-h", "--help"} & set(argv):
        keys = "\n".join(f"  {key}={value}" for key, value in defaults.items())
        print(
            f"{description.strip()}\n\nKeys and their defaults:\n{keys}\n  -v, --verbose  show the traceback of an error"
        )
        raise SystemExit(0)
    values = dict(defaults)
    for word in argv:
        if word in VERBOSE:
            continue
        key, equals, value = word.partition("=")
        if not equals or key not in defaults:
            raise UserError(
                f"{word}: expected KEY=VALUE with one of the keys {', '.join(defaults)}{nearest(key, list(defaults))}"
            )
        values[key] = value
    return values


class Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM, once: runs end at their next epoch and are marked, then the process ends."""

    def __init__(self, number: int) -> None:
        self.exit_status = 128 + number
        super().__init__("Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name)


def _stop(number: int, _frame: object) -> None:
    for again in (signal.SIGINT, signal.SIGTERM):
        signal.signal(again, _stop_at_once)
    raise Stopped(number)


def _stop_at_once(number: int, _frame: object) -> None:
    """The second time there is no waiting: what is on disk is whole, whatever is cut off here."""
    os.write(2, b"stopped at once\n")
    os._exit(128 + number)


def run(main: Callable[[Sequence[str]], int | None], argv: Sequence[str] | None = None) -> None:
    """Run a stage's `main(argv)` and end the process: errors in one line on stderr, `-v` (`--verbose`) for the traceback.

    `main` does not see `-v`. No line shows the password of an address or hands a file's name to the terminal as commands.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    verbose = bool(set(VERBOSE) & set(argv))
    argv = [word for word in argv if word not in VERBOSE]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Where a locale knows no accents and no arrows, they come as escapes rather than as an error.
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    try:
        status = main(argv) or 0
    except Stopped as stopped:
        print(f"stopped ({stopped}); what was finished is kept, the same command goes on from there", file=sys.stderr)
        status = stopped.exit_status
    except BrokenPipeError:
        # The reader went away (`| head`): not an error of ours. Python must not flush into the closed pipe on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    except Exception as error:
        if verbose:
            print(without_logins(traceback.format_exc()), end="", file=sys.stderr)
        for line in complaint(error):
            print(f"error: {shown_line(line)}", file=sys.stderr)
        status = error.exit_status if isinstance(error, UserError) else 1
    raise SystemExit(status)


def complaint(error: Exception) -> list[str]:
    """What to say of an error: cause and remedy, a line each. What no one foresaw is a defect, and is called one."""
    if isinstance(error, UserError):
        return error.lines
    if isinstance(error, MemoryError):
        return [f"this machine's memory is used up{_of(error)}; ask for less at a time, or end other programs"]
    if isinstance(error, OSError) and error.errno in REMEDIES:
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return [f"{where}{error.strerror}; {REMEDIES[error.errno]}"]
    return [f"{type(error).__name__}{_of(error)}: a defect of this program; with -v it shows where"]


REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room, and give the same command again"),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS), "let this user read and write there, or name another folder"
    ),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "allow more open files (ulimit -n), and give the same command again"),
    **dict.fromkeys((errno.ENOTDIR, errno.EISDIR, errno.EEXIST), "move it away, or name another place"),
    **dict.fromkeys((errno.ENAMETOOLONG, errno.ELOOP), "name another place"),
}
"""Errors of the operating system that a person can do something about, and what."""


def _of(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f" ({text[:300]}{'…' if len(text) > 300 else ''})" if text else ""
