"""Ctrl-C and SIGTERM: the first one ends the command in order, the second one at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any


class Stopped(KeyboardInterrupt):
    """The first Ctrl-C or SIGTERM: runs end at their next epoch and are marked, then the process ends."""

    def __init__(self, number: int) -> None:
        self.number, self.exit_status = number, 128 + number
        super().__init__("Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name)


_received: list[Stopped] = []
"""The signal that this process received, if any."""


@contextmanager
def errors_of_stopping() -> Iterator[None]:
    """Raise Stopped in place of the exception of a library that a signal interrupted."""
    try:
        yield
    except Exception as error:
        if _received:
            raise _received[0] from error
        raise


def install(*numbers: int) -> None:
    """Make each of these signals raise Stopped, once."""
    _received.clear()
    sys.unraisablehook = _stop_again
    for number in numbers:
        signal.signal(number, _stop)


@contextmanager
def stopping(*numbers: int) -> Iterator[None]:
    """`install` within the block, and restore the earlier handlers."""
    before = {number: signal.getsignal(number) for number in {*numbers, signal.SIGINT, signal.SIGTERM}}
    hook = sys.unraisablehook
    install(*numbers)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, _frame: object) -> None:
    for again in (signal.SIGINT, signal.SIGTERM):
        signal.signal(again, _stop_at_once)
    _received[:] = [Stopped(number)]
    raise _received[0]


def _stop_again(ignored: sys.UnraisableHookArgs) -> None:
    """Send the signal again if it came in code whose exceptions Python ignores (a destructor, a callback)."""
    if not isinstance(ignored.exc_value, Stopped):
        sys.__unraisablehook__(ignored)
        return
    for again in (signal.SIGINT, signal.SIGTERM):
        signal.signal(again, _stop)
    threading.Timer(0.05, os.kill, (os.getpid(), ignored.exc_value.number)).start()


def _stop_at_once(number: int, _frame: object) -> None:
    """End the process on the second signal; files on disk are complete at any time."""
    line = b"\r\x1b[2K" if os.isatty(2) else b""  # clears the bar
    os.write(2, line + b"stopped at once\n")
    os._exit(128 + number)


SHELLS = {"sh", "dash", "bash", "zsh", "fish", "ksh", "ash"}


def end_with_dvc() -> None:
    """End this process when the DVC process that runs it ends.

    A killed `dvc repro` would leave the stage running, and the next one would start a second writer. DVC starts a stage
    through a shell, which may or may not replace itself with the stage.
    """
    if "DVC_STAGE" in os.environ:
        import psutil  # type: ignore[import-untyped]

        above = psutil.Process().parents()[:2]
        stage = above if above[0].name() in SHELLS else above[:1]
        end_with(stage, "the dvc that ran this stage is gone, so the stage ends too; dvc repro continues it")


def end_with(processes: Sequence[Any], why: str) -> None:
    """End this process, as by SIGTERM, within 5 s after one of `processes` (psutil's) ends, and print `why`."""
    import psutil

    def watch() -> None:
        with suppress(psutil.Error):
            while all(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes):
                time.sleep(0.5)
        print(f"error: {why}", file=sys.stderr)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(3)  # time to end by itself
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, name="end-with", daemon=True).start()
