"""Several GPUs on one machine: a process for each, which sees no other one, with its shard of the sweep (`device.gpus`)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.sweep.executors.processes import Processes
from pipeline.sweep.plan import PlannedRun

DRIVER = Path("/proc/driver/nvidia/gpus")
"""A folder for each GPU that the driver knows; no library tells without loading CUDA."""

VISIBLE = "CUDA_VISIBLE_DEVICES"


def pool(runs: Sequence[PlannedRun], settings: Mapping[str, Any]) -> Processes | None:
    """A process for each GPU, if there are several, and several runs; None if one process does it all."""
    if any(run.device.kind != "gpu" for run in runs):
        return None
    found = visible()[: settings["gpus"] or None][: len(runs)]
    return Processes("gpus", [{VISIBLE: gpu} for gpu in found], gpus=1) if len(found) > 1 else None


def visible() -> list[str]:
    """The GPUs that a process started here may use, by the names that CUDA_VISIBLE_DEVICES takes."""
    value = os.environ.get(VISIBLE)
    if value is None:
        try:
            return [str(number) for number in range(len(list(DRIVER.iterdir())))]
        except OSError:
            return []
    found = []
    for word in (word.strip() for word in value.split(",")):
        if word in ("", "-1"):  # CUDA ignores all that follows
            break
        found.append(word)
    return list(dict.fromkeys(found))
