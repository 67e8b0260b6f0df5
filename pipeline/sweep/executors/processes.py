"""A pool of processes on this machine, each of which has something to itself: a GPU, a core."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from pipeline.cli.console import PROJECT

ENDING_SECONDS = 30.0
"""How long workers that are told to end have to do so."""


class Processes:
    """A pool (see `pipeline.sweep.pool.Pool`) with a process for each of `names`, which are what each has to itself."""

    kind: str
    gpus: int
    runs_per_share = 1
    poll_seconds = 0.5

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self.cpus = max(1, (os.cpu_count() or 1) // len(self.names))
        self.shares: int | None = len(self.names)
        self.at_once: int | None = len(self.names)
        self.scope = platform.node()
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self._names: dict[str, str] = {}
        self._logs: dict[str, Path] = {}

    def environment(self, name: str) -> Mapping[str, str]:
        """What a worker finds in its environment besides what is in ours."""
        return {}

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
        busy = {self._names[job] for job, process in self._workers.items() if process.poll() is None}
        name = next(name for name in self.names if name not in busy)
        log = file.with_suffix(".log")
        # In a session of its own: Ctrl-C is for the command, which then tells its workers.
        with open(log, "ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", module, str(file)],
                cwd=PROJECT,
                env=os.environ | self.environment(name),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        job = str(process.pid)
        self._workers[job], self._names[job], self._logs[job] = process, name, log
        return job

    def alive(self, jobs: Collection[str]) -> set[str]:
        return {job for job in jobs if self._runs(job)}

    def _runs(self, job: str) -> bool:
        if job in self._workers:
            return self._workers[job].poll() is None
        try:  # a worker of an earlier command
            return any("pipeline.sweep." in word for word in psutil.Process(int(job)).cmdline())
        except (psutil.Error, ValueError):
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
