"""The process that trains a run, and whether it is alive: MLflow leaves the runs of a killed process RUNNING."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping

import psutil  # type: ignore[import-untyped]

TAG = "process"


def host() -> str:
    return platform.node() or "unknown"


def tag() -> dict[str, str]:
    """Return the tag that identifies this process."""
    started = psutil.Process().create_time()
    return {TAG: json.dumps({"host": host(), "pid": os.getpid(), "started": started}, sort_keys=True)}


def own(run_tags: Mapping[str, str]) -> bool:
    return run_tags.get(TAG) == tag()[TAG]


def alive(run_tags: Mapping[str, str]) -> bool:
    """Return whether another process on this machine, which still runs, trains a run."""
    try:
        here = json.loads(run_tags[TAG])["host"] == host()
    except (ValueError, KeyError, TypeError):
        return False
    return here and not own(run_tags) and not dead(run_tags)


def dead(run_tags: Mapping[str, str]) -> bool:
    """Return whether the process of a run is gone; False if that is unknown."""
    try:
        then = json.loads(run_tags[TAG])
        if then["host"] != host():
            return False
        process = psutil.Process(then["pid"])
        # Two readings of a process's start time may differ slightly.
        return process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - then["started"]) > 2
    except psutil.NoSuchProcess:
        return True
    except (ValueError, KeyError, TypeError, psutil.Error):
        return False
