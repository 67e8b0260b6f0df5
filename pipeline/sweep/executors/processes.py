"""A pool of processes on this machine, each of which has something to itself: a core, a GPU or several."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from pipeline.cli.console import PROJECT

ENDING_SECONDS = 30.0
"""How long workers that are told to end have to do so."""


class Processes:
    """A pool (see `pipeline.sweep.pool.Pool`) with one process at a time for each of its places."""

    def __init__(
        self,
        kind: str,
        places: Sequence[str],
        *,
        cpus: int = 1,
        gpus: int = 0,
        variable: str = "",
        shares: int | None = None,
        runs_per_share: int = 1,
        poll_seconds: float = 0.5,
    ) -> None:
        """`places` are what each process has to itself; its worker finds it in the environment `variable`, if one is named.

        `cpus` and `gpus` are what a place has of each; `shares` and the rest are those of a pool.
        """
        self.kind, self.places, self.cpus, self.gpus, self.variable = kind, list(places), cpus, gpus, variable
        self.shares, self.runs_per_share, self.poll_seconds = shares, runs_per_share, poll_seconds
        self.at_once: int | None = len(self.places)
        self.scope = platform.node()
        self._workers: dict[str, psutil.Popen] = {}
        self._places: dict[str, str] = {}
        self._logs: dict[str, Path] = {}

    def start(self, work: Callable[[str], str], files: Sequence[Path]) -> list[str]:
        jobs: list[str] = []
        try:
            for file in files:
                job = self._start(work.__module__, file)
                jobs.append(job)
        except BaseException:
            self.cancel(jobs)
            raise
        return jobs

    def _start(self, module: str, file: Path) -> str:
        taken = {self._places[job] for job in self._workers if self._runs(job)}
        place = next(place for place in self.places if place not in taken)
        log = file.with_suffix(".log")
        with open(log, "ab") as out:
            process = psutil.Popen(
                [sys.executable, "-m", module, str(file)],
                cwd=PROJECT,
                env=os.environ | ({self.variable: place} if self.variable else {}),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                # In a session of its own: Ctrl-C is for the command, which then tells its workers.
                start_new_session=True,
            )
        job = str(process.pid)
        self._workers[job], self._places[job], self._logs[job] = process, place, log
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
        running = [self._workers.get(job) or psutil.Process(int(job)) for job in self.alive(jobs)]
        for process in running:
            process.terminate()
        _, left = psutil.wait_procs(running, ENDING_SECONDS)
        for process in left:
            process.kill()
        psutil.wait_procs(left, ENDING_SECONDS)
