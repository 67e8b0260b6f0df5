"""The pool of `hydra/launcher=batched_submitit_local`: shares as processes here, to try what a cluster will do.

The word is that of Hydra's own `submitit_local`, whose place it takes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from pipeline.cli.errors import UserError
from pipeline.sweep.executors import gpus
from pipeline.sweep.executors.processes import Processes


def pool(options: Mapping[str, Any]) -> Processes:
    """As many processes at a time as this machine has cores or GPUs for. Raises UserError if it has too few GPUs."""
    return Processes(
        "submitit_local",
        _places(options["gpus_per_share"], options["cpus_per_share"], options["at_once"]),
        cpus=options["cpus_per_share"],
        gpus=options["gpus_per_share"],
        variable=gpus.VISIBLE if options["gpus_per_share"] else "",
        shares=options["shares"],
        runs_per_share=options["runs_per_share"],
        poll_seconds=options["poll_seconds"],
    )


def _places(gpus_each: int, cpus_each: int, at_once: int) -> list[str]:
    """Groups of GPUs, or names of groups of cores; at most `at_once` if that is not 0."""
    if not gpus_each:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return [str(number) for number in range(at_once or max(1, cores // cpus_each))]
    visible = gpus.visible()
    groups = [visible[first : first + gpus_each] for first in range(0, len(visible) - gpus_each + 1, gpus_each)]
    if not groups:
        count = len(visible)
        raise UserError(
            f"hydra.launcher.gpus_per_share={gpus_each}: this machine shows {count} GPUs; expected at most so many"
        )
    return [",".join(group) for group in groups[: at_once or len(groups)]]
