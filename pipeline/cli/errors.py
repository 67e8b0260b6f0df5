"""Errors that a person can mend: one line, naming what was expected, what came, and what to do."""

from __future__ import annotations

import re
import unicodedata

LOGIN = re.compile(r"(?<=://)[^/\s'\"@]*(?:@[^/\s'\"@]*)*@")
"""User and password in an address: up to the last `@` before its path."""


def redact_credentials(text: str) -> str:
    """`text` without the user and password of any address in it: `http://***@host/`."""
    return LOGIN.sub("***@", text)


def printable(text: str) -> str:
    """`text` with escapes in place of what would command a terminal, or turn its line around."""
    if text.isprintable():
        return text
    # Python calls all spaces but one not printable; a narrow one stands between a number and its unit.
    return "".join(
        char if char.isprintable() or unicodedata.category(char) == "Zs" else char.encode("unicode_escape").decode()
        for char in text
    )


def shown_line(text: str) -> str:
    """`text` as one line that a terminal only shows: no logins, and escapes in place of what would command it."""
    return printable(" ".join(redact_credentials(text).splitlines()))


class UserError(Exception):
    """A mistake in what was asked for (bad value, missing file). `lines` are what to show, mostly one. Exit status 2."""

    exit_status = 2

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        super().__init__("; ".join(lines))


class DataUnavailable(UserError):
    """The data set is neither here nor to be had from any mirror. Exit status 4."""

    exit_status = 4


class RunsLost(UserError):
    """Something that was asked for is missing at the end: runs that failed, links that are broken. Exit status 3.

    A run that diverged is a result, and none of these.
    """

    exit_status = 3


class RunFailed(RunsLost):
    """A run ended without a result. The message says which one, why, and how to run it again."""
