"""Which processes work on a run, and whether they still do: MLflow leaves the runs of a killed process RUNNING."""

from __future__ import annotations

import functools
import json
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

TAG = "process"
"""One tag for all processes of a run, a JSON list: several tags would be several columns in MLflow's table."""
SAME_START = 2.0
"""Seconds by which two readings of one process's start may differ: Linux rounds its own start to a second."""


def host() -> str:
    return platform.node() or "unknown"


@functools.cache
def of(pid: int) -> dict[str, Any]:
    """What identifies a process of this machine; the number alone comes again."""
    here = {"host": host(), "boot": "", "namespace": ""}
    with suppress(OSError):
        here["boot"] = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        here["namespace"] = os.readlink("/proc/self/ns/pid")  # of a container: numbers are valid within one
    return here | {"pid": pid, "started": _started(pid)}


def _started(pid: int) -> float | None:
    """Seconds from the machine's start to that of the process, which stay when the clock is set; None if it is gone."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return float(process.create_time() - psutil.boot_time())
    except psutil.NoSuchProcess:
        return None


def tag(before: str | None = None) -> dict[str, str]:
    """The tag that names this process as working on a run, beside the living ones in `before`, its present value."""
    own = of(os.getpid())
    others = [other for other in _listed(before) if other != own and not _gone(other)]
    return {TAG: json.dumps([*others, own])}


def dead(run_tags: Mapping[str, str]) -> bool:
    """Whether every process that worked on a run is known to be gone; False if that is not known."""
    processes = _listed(run_tags.get(TAG))
    return bool(processes) and all(map(_gone, processes))


def alone(run_tags: Mapping[str, str]) -> bool:
    """Whether no other process works on a run, except those that are known to be gone."""
    return all(other == of(os.getpid()) or _gone(other) for other in _listed(run_tags.get(TAG)))


def _listed(value: str | None) -> list[Any]:
    try:
        listed = json.loads(value or "[]")
    except ValueError:
        return []
    return listed if isinstance(listed, list) else []


def _gone(then: Any) -> bool:
    """Whether a process is known to be gone. What is not the tag of this project says nothing."""
    here = of(os.getpid())
    try:
        pid, started = int(then["pid"]), then["started"]
        if then["host"] != here["host"]:
            return False
        if then["boot"] != here["boot"]:
            return True
        if then["namespace"] != here["namespace"]:
            return False
        now = _started(pid)
    except (ValueError, KeyError, TypeError, OverflowError, psutil.Error):
        return False
    # Earlier releases noted the start as text, in another unit.
    return now is None or (isinstance(started, int | float) and abs(now - started) > SAME_START)
