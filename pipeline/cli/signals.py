"""Ctrl-C and SIGTERM: once, what runs ends in order; twice, the process ends at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM, once: runs end at their next epoch and are marked, then the process ends."""

    def __init__(self, number: int) -> None:
        self.number, self.exit_status = number, 128 + number
        super().__init__("Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name)


_received: list[Stopped] = []
"""The signal that this process got, if any."""


@contextmanager
def errors_of_stopping() -> Iterator[None]:
    """Raise Stopped in place of what a library raises that a signal found in the middle of something."""
    try:
        yield
    except Exception as error:
        if _received:
            raise _received[0] from error
        raise


def install(*numbers: int) -> None:
    """Let each of these signals raise Stopped, once."""
    _received.clear()
    sys.unraisablehook = _stop_again
    for number in numbers:
        signal.signal(number, _stop)


@contextmanager
def stopping(*numbers: int) -> Iterator[None]:
    """`install` within the block; afterwards the signals mean what they meant before."""
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
    """Where the signal came within code whose errors Python ignores (a destructor, a callback): the signal once more."""
    if not isinstance(ignored.exc_value, Stopped):
        sys.__unraisablehook__(ignored)
        return
    for again in (signal.SIGINT, signal.SIGTERM):
        signal.signal(again, _stop)
    threading.Timer(0.05, os.kill, (os.getpid(), ignored.exc_value.number)).start()


def _stop_at_once(number: int, _frame: object) -> None:
    """The second time there is no waiting: what is on disk is whole, whatever is cut off here."""
    line = b"\r\x1b[2K" if os.isatty(2) else b""  # in place of a bar
    os.write(2, line + b"stopped at once\n")
    os._exit(128 + number)
