"""Detection of processes that no longer run."""

import json
import os
from typing import Any

import psutil
import pytest

from pipeline.tracking import process


def changed(**changes: Any) -> dict[str, str]:
    return {process.TAG: json.dumps(json.loads(process.tag()[process.TAG]) | changes)}


@pytest.mark.parametrize(
    ("tags", "gone"),
    [
        (process.tag(), False),
        (changed(started=1.0), True),  # the pid now belongs to another process
        (changed(pid=999_999_999), True),
        (changed(pid=999_999_999, host="elsewhere"), False),
        *(({process.TAG: text}, False) for text in ("", "{", "[]", '{"pid": "x"}', '[{"pid": 1}]')),
    ],
)
def test_only_a_process_that_is_known_to_be_gone_is_dead(tags: dict[str, str], gone: bool) -> None:
    assert process.dead(tags) == gone


PARENT = psutil.Process(os.getppid())


@pytest.mark.parametrize(
    ("tags", "alive"),
    [
        (process.tag(), False),  # this process
        (changed(pid=PARENT.pid, started=PARENT.create_time()), True),
        (changed(pid=PARENT.pid, started=1.0), False),
        (changed(pid=PARENT.pid, started=PARENT.create_time(), host=f"{process.host()}0"), False),
        ({process.TAG: "{"}, False),
        ({}, False),
    ],
)
def test_only_another_process_of_this_machine_is_alive(tags: dict[str, str], alive: bool) -> None:
    assert process.alive(tags) == alive
