"""How a command starts and ends: `key=value` arguments, one-line errors, exit statuses."""

from __future__ import annotations

import errno
import gc
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.cli import signals, terminal
from pipeline.cli.errors import UserError, redact_credentials, shown_line
from pipeline.cli.formatting import nearest

VERBOSE = ("-v", "--verbose")

PROJECT = Path(__file__).resolve().parent.parent.parent
"""The checkout. Relative paths in the configuration are relative to it."""


def read_options(argv: Sequence[str], defaults: dict[str, str], description: str) -> dict[str, str]:
    """Return the values of `key=value` arguments, for commands with a handful of keys.

    `--help` prints `description` and the keys, and exits. Raises UserError for an unknown key.
    """
    if {"-h", "--help"} & set(argv):
        keys = "\n".join(f"  {key}={value}" for key, value in defaults.items())
        print(
            f"{description.strip()}\n\nKeys and their defaults:\n{keys}\n  -v, --verbose  show the traceback of an error"
        )
        raise SystemExit(0)
    values = dict(defaults)
    for argument in argv:
        key, equals, value = argument.partition("=")
        if not equals or key not in defaults:
            raise UserError(
                f"{argument}: expected KEY=VALUE with one of the keys {', '.join(defaults)}{nearest(key, list(defaults))}"
            )
        values[key] = value
    return values


def read_arguments(argv: Sequence[str], defaults: dict[str, str], description: str) -> tuple[list[str], dict[str, str]]:
    """Return the positional arguments of `argv`, and what `read_options` returns for the others.

    An existing path is positional even with a `=` in it.
    """
    named = [text for text in argv if text.startswith("-") or ("=" in text and not Path(text).exists())]
    return [text for text in argv if text not in named], read_options(named, defaults, description)


def in_checkout(path: Path) -> str:
    """Return `path` as a user would type it in the checkout."""
    return str(path.relative_to(PROJECT)) if path.is_relative_to(PROJECT) else str(path)


@contextmanager
def replaced_argv(argv: Sequence[str]) -> Iterator[None]:
    """Replace `sys.argv` within the block, for libraries that read it."""
    before, sys.argv = sys.argv, list(argv)
    try:
        yield
    finally:
        sys.argv = before


COLLECT_AFTER = 50_000
"""Threshold of the garbage collector, in place of Python's 700: importing TensorFlow makes a million objects that stay, and
collecting among them takes an eighth of the import."""

REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room on that disk"),
    errno.EFBIG: "allow larger files (ulimit -f)",
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "make it writable, or name another folder"),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR, errno.EISDIR), "move that out of the way, or name another folder"),
    errno.EMFILE: "allow more open files (ulimit -n)",
}
"""What a user can do about an error of the operating system."""


def remedy(error: BaseException | None) -> str:
    """Return `; …` with what to do if REMEDIES has `error` or one of its causes, else an empty string."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__
    what = REMEDIES.get(error.errno or 0) if error is not None else None
    return f"; {what}; what is finished is kept, and the same command does the rest" if what else ""


def run(main: Callable[[Sequence[str]], int | None], argv: Sequence[str] | None = None) -> None:
    """Run a command's `main(argv)` and exit. Errors are one line on stderr; `-v` (`--verbose`) adds the traceback.

    `main` does not get `-v`. Passwords in addresses are hidden, and control characters in names of files are escaped.
    """
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])
    argv = sys.argv[1:] if argv is None else list(argv)
    verbose = bool(set(VERBOSE) & set(argv))
    argv = [word for word in argv if word not in VERBOSE]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # In a locale without accents and arrows, print escapes instead of raising an error.
            stream.reconfigure(errors="backslashreplace")
    hook = sys.unraisablehook
    # Until the process ends, so that a second signal ends it at once even while it exits.
    signals.install(signal.SIGINT, signal.SIGTERM)
    signals.end_with_dvc()
    try:
        if not (Path(__file__).resolve().parents[2] / "conf").is_dir():
            raise UserError("this project is a template: clone its repository, run make setup there, then this command")
        with signals.errors_of_stopping():
            try:
                status = main(argv) or 0
            finally:
                terminal.clear()
    except signals.Stopped as stopped:
        print(f"stopped ({stopped}); what is finished is kept, and the same command does the rest", file=sys.stderr)
        status = stopped.exit_status
    except BrokenPipeError:
        # The reader closed the pipe (`| head`), which is no error. Python must not flush into it on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    except Exception as error:
        if verbose:
            print(redact_credentials(traceback.format_exc()), end="", file=sys.stderr)
        for line in messages(error):
            print(f"error: {shown_line(line)}", file=sys.stderr)
        status = error.exit_status if isinstance(error, UserError) else 1
    finally:
        sys.unraisablehook = hook
    raise SystemExit(status)


def messages(error: Exception) -> list[str]:
    """Return the lines to show for an error, each with cause and remedy. An unexpected error is called a defect."""
    if isinstance(error, UserError):
        return [f"{line}{remedy(error)}" for line in error.lines]
    if isinstance(error, MemoryError):
        return [f"this machine is out of memory{_message(error)}; ask for less at a time, or end other programs"]
    if isinstance(error, OSError) and remedy(error):
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return [f"{where}{error.strerror}{remedy(error)}"]
    return [f"{type(error).__name__}{_message(error)}: a defect of this program; -v shows the traceback"]


def _message(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f" ({text[:300]}{'…' if len(text) > 300 else ''})" if text else ""
