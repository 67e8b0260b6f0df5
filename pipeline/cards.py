"""Several GPUs on one machine: a process for each card, which sees no other one, with its share of the sweep.

One process trains on one card. Where this machine shows more, a sweep is divided among them (`device.gpus`), by
the same shares that a cluster gets.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from pipeline.console import PROJECT
from pipeline.planned import Planned

DRIVER = Path("/proc/driver/nvidia/gpus")
"""A folder for each card that the driver knows."""

VISIBLE = "CUDA_VISIBLE_DEVICES"
ENDING_SECONDS = 30.0
"""What workers have to end by themselves, when they are told to."""


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


class Cards:
    """A pool of subprocesses, each with a card to itself."""

    kind = "cards"
    gpus = 1
    runs_per_share = 1
    poll_seconds = 0.5

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self.cpus = max(1, (os.cpu_count() or 1) // len(self.names))
        self.shares: int | None = len(self.names)
        self.at_once: int | None = len(self.names)
        self.scope = platform.node()
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self._cards: dict[str, str] = {}
        self._logs: dict[str, Path] = {}

    def start(self, work: Callable[[str], str], files: Sequence[Path]) -> list[str]:
        started: list[str] = []
        try:
            for file in files:
                job = self._start(work.__module__, file)
                started.append(job)
        except BaseException:
            self.cancel(started)
            raise
        return started

    def _start(self, module: str, file: Path) -> str:
        busy = {self._cards[job] for job, process in self._workers.items() if process.poll() is None}
        card = next(name for name in self.names if name not in busy)
        log = file.with_suffix(".log")
        # In a session of its own: Ctrl-C is for the command, which then tells its workers.
        with open(log, "ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", module, str(file)],
                cwd=PROJECT,
                env=os.environ | {VISIBLE: card},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        job = str(process.pid)
        self._workers[job], self._cards[job], self._logs[job] = process, card, log
        return job

    def alive(self, jobs: Collection[str]) -> set[str]:
        return {job for job in jobs if self._runs(job)}

    def _runs(self, job: str) -> bool:
        if job in self._workers:
            return self._workers[job].poll() is None
        try:  # of an earlier command
            return b"pipeline.worker" in Path(f"/proc/{int(job)}/cmdline").read_bytes()
        except (OSError, ValueError):
            return False

    def fate(self, job: str) -> str:
        if job not in self._workers or not (status := self._workers[job].poll()):
            return ""
        return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"

    def log(self, job: str) -> str:
        return str(self._logs.get(job, ""))

    def cancel(self, jobs: Collection[str]) -> None:
        for job in self.alive(jobs):
            os.kill(int(job), signal.SIGTERM)
        until = time.monotonic() + ENDING_SECONDS
        while (left := self.alive(jobs)) and time.monotonic() < until:
            time.sleep(0.1)
        for job in left:
            os.kill(int(job), signal.SIGKILL)
