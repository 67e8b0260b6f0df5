"""Which process works on a run, and whether it is still alive: MLflow leaves the runs of a killed process RUNNING.

Start times are in clock ticks since boot. psutil's are dates, which move when the clock is set, and with them a living
process would look like another one.
"""

from __future__ import annotations

import functools
import json
import os
import platform
from pathlib import Path
from typing import Any

TAG = "process"
"""One tag for all processes of a run, a JSON list: several tags would be several columns in MLflow's table."""


def host() -> str:
    return platform.node() or "unknown"


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _namespace() -> str:
    """Process numbers are only valid within one PID namespace (one container)."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Clock ticks from boot to the start of a process, to distinguish it from a later one with the same number.

    Empty if it is gone or a zombie, or if there is no /proc.
    """
    # The second field is the program's name in parentheses, and may hold anything.
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else ""


@functools.cache
def _here() -> dict[str, str]:
    return {"host": host(), "boot": _text("/proc/sys/kernel/random/boot_id"), "namespace": _namespace()}


def tag(before: str | None = None) -> dict[str, str]:
    """The tag that names this process as working on a run, beside the living ones in `before`, its present value."""
    identity = of(os.getpid())
    others = [other for other in _listed(before) if other != identity and not _gone(other)]
    return {TAG: json.dumps([*others, identity])}


def of(pid: int) -> dict[str, Any]:
    """What identifies the process with this number."""
    return _here() | {"pid": pid, "started": _started(pid)}


def dead(run_tags: dict[str, str]) -> bool:
    """Whether every process that worked on a run is known to be gone; False if that is not known."""
    identities = _listed(run_tags.get(TAG))
    return bool(identities) and all(_gone(identity) for identity in identities)


def alone(run_tags: dict[str, str]) -> bool:
    """Whether no other process works on a run, except those that are known to be gone."""
    return all(identity == of(os.getpid()) or _gone(identity) for identity in _listed(run_tags.get(TAG)))


def _listed(value: str | None) -> list[Any]:
    try:
        listed = json.loads(value or "[]")
    except ValueError:
        return []
    return listed if isinstance(listed, list) else []


def _gone(then: Any) -> bool:
    here = _here()
    try:
        pid, started = int(then["pid"]), then["started"]
        if then["host"] != here["host"]:
            return False
        if then["boot"] != here["boot"]:
            return True
        if then["namespace"] != here["namespace"]:
            return False
    except (ValueError, KeyError, TypeError):
        return False
    if started:
        return _started(pid) != started
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
