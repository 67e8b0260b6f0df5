"""Which job of a pool trains which shard, noted on disk: workers outlive a command that is killed, and the next one asks."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.cli.errors import UserError
from pipeline.data.files import whole
from pipeline.sweep.pool import Pool

FOLDER = "shares"
"""The folder within a store of runs with a folder for each command: its shards' files, journals and logs."""

JOBS = "jobs.json"

LAST_WORDS_SECONDS = 60.0
"""How long the worker of a shard may still write after the command has all of its runs."""

KEPT_SECONDS = 86_400.0
"""How long the folder of a command stays that lost runs, or was killed."""


def write_jobs(folder: Path, pool: Pool, jobs: Mapping[str, str], over: bool = False) -> None:
    """Note the job of each shard, by its file's name without suffix. `over`: nothing more is expected of any of them."""
    noted = {"kind": pool.kind, "scope": pool.scope, "over": over, "jobs": jobs}
    with whole(folder / JOBS) as temporary:
        temporary.write_text(json.dumps(noted) + "\n", encoding="utf-8")


def earlier_jobs(root: Path, pool: Pool) -> Iterator[tuple[Path, str]]:
    """File and job of each shard of earlier commands whose job is alive; removes the folders that nobody needs any more.

    Jobs of another kind of pool, or of another machine or user, cannot be seen from here: their folders stay until they are
    over. Raises UserError if the pool does not know now which jobs are alive.
    """
    for folder in sorted((root / FOLDER).glob("*")):
        try:
            noted = json.loads((folder / JOBS).read_text(encoding="utf-8"))
            jobs = {str(name): str(job) for name, job in noted["jobs"].items()}
            over, own = noted["over"], (noted["kind"], noted["scope"]) == (pool.kind, pool.scope)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        if over:
            _remove_if_idle(folder, LAST_WORDS_SECONDS)
        elif own:
            alive = pool.alive(list(jobs.values()))
            if alive is None:
                raise UserError(f"{folder}: whether its jobs still run cannot be known now (the queue does not answer)")
            if not alive:
                _remove_if_idle(folder, KEPT_SECONDS)
            yield from ((folder / f"{name}.json", job) for name, job in jobs.items() if job in alive)


def _remove_if_idle(folder: Path, seconds: float) -> None:
    """Remove the folder if nothing in it was written for so long: a journal grows with every run."""
    try:
        idle = time.time() - max(entry.stat().st_mtime for entry in folder.iterdir())
    except (OSError, ValueError):
        return
    if idle > seconds:
        shutil.rmtree(folder, ignore_errors=True)
