"""Errors that a user can fix: one line with what was expected, what was given, and what to do."""

from __future__ import annotations

import re
import unicodedata

LOGIN = re.compile(r"(?<=://)[^/\s'\"@]*(?:@[^/\s'\"@]*)*@")
"""User and password in an address: up to the last `@` before the path."""


def redact_credentials(text: str) -> str:
    """Return `text` with the user and password of every address hidden: `http://***@host/`."""
    return LOGIN.sub("***@", text)


def printable(text: str) -> str:
    """Return `text` with control characters, and those that change the direction of text, as escapes."""
    if text.isprintable():
        return text
    # `isprintable` rejects every space but the ASCII one; a narrow one stands between a number and its unit.
    return "".join(
        char if char.isprintable() or unicodedata.category(char) == "Zs" else char.encode("unicode_escape").decode()
        for char in text
    )


def shown_line(text: str) -> str:
    """Return `text` as one line that is safe to print: no passwords, control characters as escapes."""
    return printable(" ".join(redact_credentials(text).splitlines()))


class UserError(Exception):
    """A user's mistake (bad value, missing file). `lines` are shown, usually one. Exit status 2."""

    exit_status = 2

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        super().__init__("; ".join(lines))


class DataUnavailable(UserError):
    """The data set is not on disk, and no mirror provides it. Exit status 4."""

    exit_status = 4


class RunsLost(UserError):
    """Something is missing at the end: runs that failed, links that are broken. Exit status 3.

    A diverged run is a result and does not count.
    """

    exit_status = 3


class RunFailed(RunsLost):
    """A run ended without a result. The message names the run, the reason and the command to train it again."""
