"""What every stage shares towards the person at the terminal: `key=value` words, errors in one line, exit statuses."""

from __future__ import annotations

import os
import signal
import sys
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


def _stop(number: int, _frame: object) -> None:
    for again in (signal.SIGINT, signal.SIGTERM):
        signal.signal(again, _stop_at_once)
    raise Stopped(number)


def _stop_at_once(number: int, _frame: object) -> None:
    """The second time there is no waiting: what is on disk is whole, whatever is cut off here."""
    os.write(2, b"stopped at once\n")
    os._exit(128 + number)


def run(main: Callable[[Sequence[str]], int | None], argv: Sequence[str] | None = None) -> None:
    """Run a stage's `main(argv)` and end the process: errors in one line on stderr, `-v` for the traceback."""
    argv = sys.argv[1:] if argv is None else list(argv)
    verbose = "-v" in argv
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
    except UserError as error:
        if verbose:
            traceback.print_exc()
        for line in error.lines:
            print(f"error: {line}", file=sys.stderr)
        status = error.exit_status
    except Exception as error:
        if verbose:
            traceback.print_exc()
        hint = "" if verbose else " (run again with -v for the traceback)"
        print(f"error: {type(error).__name__}: {error}{hint}", file=sys.stderr)
        status = 1
    raise SystemExit(status)
