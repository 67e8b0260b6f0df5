"""Detection of processes that no longer run."""

import json
from typing import Any

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
