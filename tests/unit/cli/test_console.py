"""Error messages of commands: one line with cause and remedy; with `-v`, the traceback before it."""

import errno
import importlib
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from pipeline.cli import console
from pipeline.cli.console import PROJECT, VERBOSE
from pipeline.cli.errors import UserError
from pipeline.cli.formatting import duration, layers, number
from tests.support.imports import COMMANDS
from tests.unit.training.command import command, said

OWN_WORDS = ("pipeline.train", "pipeline.search", "pipeline.tune", "pipeline.sweep.executors.worker")
OTHERS = [name for name in COMMANDS if name not in OWN_WORDS]
WRONG = ["optimizzer=adm"]
"""An argument that no command accepts."""


@pytest.mark.parametrize("module", OTHERS)
@pytest.mark.parametrize("flag", [None, "-v"])
def test_every_command_says_a_mistake_in_one_line_and_with_v_where(module: str, flag: str | None) -> None:
    done = said(importlib.import_module(module).main, *WRONG, *([flag] if flag else []))
    *traceback, line = done.err.splitlines()
    assert (done.status, done.out) == (2, "")
    assert line.startswith("error: optimizzer=adm: expected KEY=VALUE with one of the keys ")
    assert traceback[:1] == (["Traceback (most recent call last):"] if flag else [])


@pytest.mark.parametrize(("words", "flag"), [(["optimizer=adm"], "-v"), (["--multirun", "optimizer=adm"], "--verbose")])
def test_training_does_so_too(words: list[str], flag: str) -> None:
    done = command(*words, flag)
    assert done.status == 2
    assert done.err.startswith("Traceback (most recent call last):")
    assert done.err.splitlines()[-1].startswith("error: optimizer=adm: expected one of ")
    assert len(command(*words).err.splitlines()) == 1


def failing(error: Exception) -> Callable[[list[str]], int]:
    def main(argv: list[str]) -> int:
        assert not {*VERBOSE} & set(argv)
        raise error

    return main


def system(number: int, name: str | bytes | None = "there") -> OSError:
    return OSError(number, os.strerror(number), name)


SHOWN = {
    "a defect": (
        IndexError("list index out of range"),
        1,
        "IndexError (list index out of range): a defect of this program; ",
    ),
    "a long one": (ValueError("x" * 9999), 1, "…): a defect of this program"),
    "a full disk": (
        system(errno.ENOSPC),
        1,
        "there: No space left on device; make room on that disk; what is finished is kept",
    ),
    "no memory": (
        MemoryError("Unable to allocate 9 TiB"),
        1,
        "this machine is out of memory (Unable to allocate 9 TiB); ",
    ),
    "a name that commands": (
        UserError("\x1b]0;evil\x07 ‮ x: no such run"),
        2,
        "\\x1b]0;evil\\x07 \\u202e x: no such run",
    ),
    "a defect with a login": (ValueError("http://u:secret@h/"), 1, "ValueError (http://***@h/): a defect"),
}


@pytest.mark.parametrize("case", SHOWN)
@pytest.mark.parametrize("flag", ["", "--verbose"])
def test_what_is_shown_of_an_error(case: str, flag: str) -> None:
    error, status, expected = SHOWN[case]
    done = said(failing(error), *([flag] if flag else []))
    *traceback, line = done.err.splitlines()
    assert (done.status, done.out) == (status, "")
    assert line.startswith("error: ")
    assert expected in line
    assert len(line) < 500
    assert bool(traceback) == bool(flag)
    assert "secret" not in done.err


def test_installed_outside_a_checkout_it_says_that_it_is_a_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "__file__", "/usr/lib/python3/site-packages/pipeline/cli/console.py")
    done = said(lambda argv: 0)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("error: this project is a template: clone its repository")
    assert done.err.count("\n") == 1


@pytest.mark.fault("surroundings")
def test_a_terminal_that_knows_no_accents_gets_escapes() -> None:
    program = "from pipeline.cli import console; console.run(lambda argv: print('784 → 512, – ×'))"
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(PROJECT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "784 \\u2192 512, \\u2013 \\xd7\n", "")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "0 s"), (99.4, "99 s"), (119.7, "2:00 min"), (5999.8, "1:40 h"), (4800 * 60, "80:00 h")],
)
def test_a_duration_reads_as_people_say_it(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("512x256", "widths 512, 256"),
        ("residual-128", "residual, width 128"),
        ("my-net", "my-net"),
        ("none", "no hidden layer"),
    ],
)
def test_a_network_reads_as_people_say_it(shape: str, expected: str) -> None:
    assert layers(shape) == expected


def test_one_mean_has_one_text_however_it_was_computed() -> None:
    assert number(96.13499999999999) == number(96.135) == "96.14"
