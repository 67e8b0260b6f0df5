"""The progress bar on a real terminal: it stays below the output at any width and vanishes at the end and on Ctrl-C."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from pipeline.cli.console import PROJECT

PROGRAM = """
import signal, sys
from pipeline.cli import console, terminal

def main(argv):
    terminal.show("loading [red]libraries[/red]")
    print("again: python -m pipeline.train " + 20 * "model.width=8 ", flush=True)
    terminal.show("3:20 min left  " + 20 * "long-name ", 1, 2, "1/2 runs")
    terminal.say("A sentence of more words than there is room for in one line of a narrow window.")
    if argv:
        signal.pause()
    terminal.suggest("make ui")

console.run(main)
"""


def said(columns: int, *words: str, **environment: str) -> tuple[int, str]:
    """Return the program's exit status and terminal output. With an argument in `words`, it gets Ctrl-C halfway."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    own = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    command = [sys.executable, "-c", PROGRAM, *words]
    with subprocess.Popen(
        command, cwd=PROJECT, stdout=side, stderr=side, env=own | {"TERM": "xterm"} | environment
    ) as it:
        os.close(side)
        text = b""
        while words and b"narrow" not in text:
            text += os.read(main, 4096)
        if words:
            time.sleep(0.5)
            it.send_signal(signal.SIGINT)
        while chunk := _read(main):
            text += chunk
    os.close(main)
    return it.returncode, text.decode().replace("\r\n", "\n")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # the other end is closed
        return b""


@pytest.mark.parametrize("columns", [60, 80])
def test_a_bar_stands_below_what_is_printed_and_goes_away(columns: int) -> None:
    status, text = said(columns)
    assert status == 0
    assert "loading [red]libraries[/red]" in text
    assert "1/2 runs" in text
    assert "3:20 min left" in text
    assert f"again: python -m pipeline.train {20 * 'model.width=8 '}\n" in text, "a command can be copied"
    assert ("in one line\n" in text) == (columns == 60)
    assert text.rindex("next: make ui\n") < text.rindex("\x1b[2K"), "the bar is wiped out at last"
    assert "\x1b[?25l" not in text[text.rindex("\x1b[?25h") :], "the cursor is there"


def test_no_colour_where_none_is_wanted() -> None:
    assert "\x1b[3" not in said(80, NO_COLOR="1")[1]


def test_after_ctrl_c_the_message_is_the_last_line() -> None:
    status, text = said(80, "wait")
    assert status == 130
    assert text.endswith("\x1b[2Kstopped (Ctrl-C); what is finished is kept, and the same command does the rest\n")
