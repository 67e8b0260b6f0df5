"""Which processes are known to be gone."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from pipeline.tracking import process


def changed(**changes: Any) -> dict[str, str]:
    identity = json.loads(process.tag()[process.TAG])[0]
    return {process.TAG: json.dumps([identity | changes])}


def test_process_that_ended_is_gone() -> None:
    code = "from pipeline.tracking import process; print(process.tag()['process'])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.dead({process.TAG: ran.stdout})


@pytest.mark.skipif(sys.platform != "linux", reason="start times of processes come from /proc")
def test_other_process_with_the_same_number_is_another() -> None:
    assert process.dead(changed(started=1.0))


def test_process_from_before_a_restart_of_the_machine_is_gone() -> None:
    assert process.dead(changed(boot="an earlier one"))


@pytest.mark.parametrize("unknown", [{"host": "elsewhere"}, {"namespace": "pid:[1]"}])
def test_process_that_cannot_be_seen_from_here_may_live(unknown: dict[str, str]) -> None:
    assert not process.dead(changed(pid=999999, **unknown))


@pytest.mark.parametrize("value", ["", "{", "[]", "[1]", '[{"pid": "x"}]'])
def test_tag_that_says_nothing_proves_nothing(value: str) -> None:
    assert not process.dead({process.TAG: value})


def test_one_living_process_is_enough() -> None:
    gone = changed(started=1.0, pid=999999)[process.TAG]
    elsewhere = changed(host="elsewhere")[process.TAG]
    both = process.tag(json.dumps(json.loads(gone) + json.loads(elsewhere)))
    assert not process.dead(both)
    assert [one["host"] == "elsewhere" for one in json.loads(both[process.TAG])] == [True, False]
    assert process.tag(both[process.TAG]) == both, "joining twice is joining once"
