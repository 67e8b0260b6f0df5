"""How a command starts and ends: `key=value` words, errors in one line, exit statuses."""

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
"""The checkout: what relative paths of the configuration are relative to."""


def read_options(argv: Sequence[str], defaults: dict[str, str], description: str) -> dict[str, str]:
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
        key, equals, value = word.partition("=")
        if not equals or key not in defaults:
            raise UserError(
                f"{word}: expected KEY=VALUE with one of the keys {', '.join(defaults)}{nearest(key, list(defaults))}"
            )
        values[key] = value
    return values


def read_arguments(argv: Sequence[str], defaults: dict[str, str], description: str) -> tuple[list[str], dict[str, str]]:
    """The words of `argv` that are no `key=value` and no option, and what `words` reads of the others.

    A path may have a `=` in it.
    """
    named = [word for word in argv if word.startswith("-") or ("=" in word and not Path(word).exists())]
    return [word for word in argv if word not in named], read_options(named, defaults, description)


def in_checkout(path: Path) -> str:
    """`path` as a person would type it from the checkout."""
    return str(path.relative_to(PROJECT)) if path.is_relative_to(PROJECT) else str(path)


@contextmanager
def replaced_argv(read_options: Sequence[str]) -> Iterator[None]:
    """`sys.argv` within the block, for libraries that read it; afterwards it is what it was."""
    before, sys.argv = sys.argv, list(read_options)
    try:
        yield
    finally:
        sys.argv = before


COLLECT_AFTER = 50_000
"""New objects between two looks for cyclic garbage, in place of Python's 700: importing TensorFlow makes a million that stay, and
looking through them again and again is an eighth of its seconds."""

REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room on that disk"),
    errno.EFBIG: "allow larger files (ulimit -f)",
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "make it writable, or name another folder"),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR, errno.EISDIR), "move that out of the way, or name another folder"),
    errno.EMFILE: "allow more open files (ulimit -n)",
}
"""Errors of the operating system that a person can do something about, and what."""


def remedy(error: BaseException | None) -> str:
    """`; …` with what to do, where what came of it is an error of the system that a person can mend; else nothing."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__
    what = REMEDIES.get(error.errno or 0) if error is not None else None
    return f"; {what}; what is finished is kept, and the same command does the rest" if what else ""


def run(main: Callable[[Sequence[str]], int | None], argv: Sequence[str] | None = None) -> None:
    """Run a stage's `main(argv)` and end the process: errors in one line on stderr, `-v` (`--verbose`) for the traceback.

    `main` does not see `-v`. No line shows the password of an address or hands a file's name to the terminal as commands.
    """
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])
    argv = sys.argv[1:] if argv is None else list(argv)
    verbose = bool(set(VERBOSE) & set(argv))
    argv = [word for word in argv if word not in VERBOSE]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Where a locale knows no accents and no arrows, they come as escapes rather than as an error.
            stream.reconfigure(errors="backslashreplace")
    hook = sys.unraisablehook
    # To the very end of the process: the second one is immediate then, too.
    signals.install(signal.SIGINT, signal.SIGTERM)
    signals.end_with_dvc()
    try:
        if not (Path(__file__).resolve().parents[2] / "conf").is_dir():
            raise UserError(
                "this project is a template: clone its repository, and run this in the clone after make setup"
            )
        with signals.errors_of_stopping():
            try:
                status = main(argv) or 0
            finally:
                terminal.clear()
    except signals.Stopped as stopped:
        print(f"stopped ({stopped}); what was finished is kept, the same command does the rest", file=sys.stderr)
        status = stopped.exit_status
    except BrokenPipeError:
        # The reader went away (`| head`): not an error of ours. Python must not flush into the closed pipe on exit.
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
    """What to say of an error: cause and remedy, a line each. What no one foresaw is a defect, and is called one."""
    if isinstance(error, UserError):
        return [f"{line}{remedy(error)}" for line in error.lines]
    if isinstance(error, MemoryError):
        return [f"this machine's memory is used up{_message(error)}; ask for less at a time, or end other programs"]
    if isinstance(error, OSError) and remedy(error):
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return [f"{where}{error.strerror}{remedy(error)}"]
    return [f"{type(error).__name__}{_message(error)}: a defect of this program; with -v it shows where"]


def _message(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f" ({text[:300]}{'…' if len(text) > 300 else ''})" if text else ""
