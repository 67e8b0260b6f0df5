"""What every stage shares towards the person at the terminal: `key=value` words, errors in one line, exit statuses."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.config.rules import nearest
from pipeline.errors import UserError

PROJECT = Path(__file__).resolve().parent.parent
"""The checkout: what relative paths of the configuration are relative to."""


def words(argv: Sequence[str], defaults: dict[str, str], description: str) -> dict[str, str]:
    """Read `key=value` words, the grammar of `python -m pipeline.train`, for stages with a handful of keys.

    `--help` prints `description` and the keys, and ends the program. Raises UserError on an unknown key.
    """
    if {"-h", "--help"} & set(argv):
        keys = "\n".join(f"  {key}={value}" for key, value in defaults.items())
        print(
            f"{description.strip()}\n\nKeys and their defaults:\n{keys}\n  -v            show the traceback of an error"
        )
        raise SystemExit(0)
    values = dict(defaults)
    for word in argv:
        if word == "-v":
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


_came: list[Stopped] = []
"""The signal that this process got, if any."""


def _stop(number: int, _frame: object) -> None:
    for again in (signal.SIGINT, signal.SIGTERM):
        signal.signal(again, _stop_at_once)
    _came[:] = [Stopped(number)]
    raise _came[0]


def _stop_again(ignored: sys.UnraisableHookArgs) -> None:
    """Where the signal came within code whose errors Python ignores (a destructor, a callback): the signal once more."""
    if not isinstance(ignored.exc_value, Stopped):
        sys.__unraisablehook__(ignored)
        return
    number = ignored.exc_value.exit_status - 128
    for again in (signal.SIGINT, signal.SIGTERM):
        signal.signal(again, _stop)
    threading.Timer(0.05, os.kill, (os.getpid(), number)).start()


def _stop_at_once(number: int, _frame: object) -> None:
    """The second time there is no waiting: what is on disk is whole, whatever is cut off here."""
    os.write(2, b"stopped at once\n")
    os._exit(128 + number)


ORPHAN_SECONDS = 3.0
"""What a stage whose `dvc repro` was killed has to end by itself, before it is ended."""

SHELLS = {"sh", "dash", "bash", "zsh", "fish", "ksh", "ash"}


def end_with_dvc(environment: dict[str, str] | os._Environ[str] = os.environ) -> None:
    """Where DVC runs this stage: end within 5 s of its end, as by SIGTERM.

    A killed `dvc repro` would leave it running, and the next one would start a second writer beside it. DVC starts a
    stage through a shell, which may or may not replace itself by the stage. Where there is no /proc nothing is watched.
    """
    if "DVC_STAGE" not in environment:
        return
    above = [os.getppid()]
    if _stat(above[0])[:1] and _stat(above[0])[0] in SHELLS:
        above.append(int(_stat(above[0])[1]))
    family = [(pid, _stat(pid)[2:]) for pid in above if _stat(pid)]

    def watch() -> None:
        while os.getppid() == above[0] and all(_stat(pid)[2:] == started for pid, started in family):
            time.sleep(0.5)
        print(
            "error: the dvc that ran this stage is gone, so it ends too; dvc repro goes on from here", file=sys.stderr
        )
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ORPHAN_SECONDS)
        os._exit(128 + signal.SIGTERM)

    if family:
        threading.Thread(target=watch, name="end-with-dvc", daemon=True).start()


def _stat(pid: int) -> list[str]:
    """Name, parent and start of a process; nothing where it is gone, or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    # The name is in parentheses, and may hold anything.
    name, rest = text[text.index("(") + 1 : text.rindex(")")], text.rpartition(")")[2].split()
    return [] if rest[0] in "ZX" else [name, rest[1], rest[19]]


REMEDIES = {
    (errno.ENOSPC, errno.EDQUOT): "make room on that disk",
    (errno.EFBIG,): "allow larger files (ulimit -f)",
    (errno.EROFS, errno.EACCES, errno.EPERM): "make it writable, or name another folder",
    (errno.EEXIST, errno.ENOTDIR, errno.EISDIR): "move that out of the way, or name another folder",
    (errno.EMFILE, errno.ENFILE): "allow more open files (ulimit -n)",
}
"""What a person does where the system does not let something be written."""


def remedy(error: BaseException | None) -> str:
    """`; …` with what to do, where what came of it is an error of the system that a person can mend; else nothing."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__
    for numbers, words in REMEDIES.items():
        if error is not None and error.errno in numbers:
            return f"; {words}; what is finished is kept, and the same command goes on from there"
    return ""


def run(main: Callable[[Sequence[str]], int | None], argv: Sequence[str] | None = None) -> None:
    """Run a stage's `main(argv)` and end the process: errors in one line on stderr, `-v` for the traceback."""
    argv = sys.argv[1:] if argv is None else list(argv)
    verbose = "-v" in argv
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    end_with_dvc()
    before, sys.unraisablehook = sys.unraisablehook, _stop_again
    _came.clear()
    try:
        try:
            status = main(argv) or 0
        except Exception as error:
            if not _came:
                raise
            # A library was in the middle of something when the signal came, and found it half done.
            raise _came[0] from error
    except Stopped as stopped:
        print(f"stopped ({stopped}); what was finished is kept, the same command goes on from there", file=sys.stderr)
        status = stopped.exit_status
    except BrokenPipeError:
        # The reader went away (`| head`): not an error of ours. Python must not flush into the closed pipe on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    except UserError as error:
        if verbose:
            traceback.print_exc()
        for line in error.lines:
            print(f"error: {line}{remedy(error)}", file=sys.stderr)
        status = error.exit_status
    except OSError as error:
        if verbose:
            traceback.print_exc()
        where = f"{error.filename}: " if error.filename else ""
        what = f"{where}{error.strerror or error}{remedy(error)}"
        hint = "" if verbose or remedy(error) else " (run again with -v for the traceback)"
        print(f"error: {what}{hint}", file=sys.stderr)
        status = 1
    except Exception as error:
        if verbose:
            traceback.print_exc()
        hint = "" if verbose else " (run again with -v for the traceback)"
        print(f"error: {type(error).__name__}: {error}{hint}", file=sys.stderr)
        status = 1
    finally:
        sys.unraisablehook = before
    raise SystemExit(status)
