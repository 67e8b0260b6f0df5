"""Several GPUs on one machine: a process for each card, which sees no other one, with its share of the sweep.

One process trains on one card. Where this machine shows more, a sweep is divided among them (`device.gpus`), by
the same shares that a cluster gets.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.sweep.planned import Planned
from pipeline.sweep.processes import Processes

DRIVER = Path("/proc/driver/nvidia/gpus")
"""A folder for each card that the driver knows."""

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible() -> list[str]:
    """The cards that a process started here may use, by the names that CUDA_VISIBLE_DEVICES takes."""
    named = os.environ.get(VISIBLE)
    if named is not None:
        found = []
        for word in (word.strip() for word in named.split(",")):
            if word in ("", "-1"):  # CUDA takes no name behind one that is none
                break
            found.append(word)
        return list(dict.fromkeys(found))
    try:
        return [str(number) for number in range(len(list(DRIVER.iterdir())))]
    except OSError:
        return []


def pool(runs: Sequence[Planned], settings: dict[str, Any]) -> Cards | None:
    """A worker for each card, where there are several, and as many runs for them; None where one process does it all."""
    if any(one.device.kind != "gpu" for one in runs) or len(runs) < 2:
        return None
    found = visible()
    found = found[: settings["gpus"] or len(found)]
    return Cards(found[: len(runs)]) if min(len(found), len(runs)) > 1 else None


class Cards(Processes):
    """A pool of subprocesses, each with a card to itself."""

    kind = "cards"
    gpus = 1

    def environment(self, name: str) -> Mapping[str, str]:
        return {VISIBLE: name}
