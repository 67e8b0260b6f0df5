"""A pool of processes on this machine, one for each core or GPU. They end with the command that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from pipeline.cli.console import PROJECT

WORKER = "pipeline.sweep.executors.worker"

ENDING_SECONDS = 30.0
"""How long workers that are told to end have to do so."""


class Processes:
    """A pool (see `pipeline.sweep.pool.Pool`) with one process for each of its environments."""

    cpus = 1
    poll_seconds = 0.3

    def __init__(self, kind: str, environments: Sequence[Mapping[str, str]], gpus: int = 0) -> None:
        """`environments`: the variables that each process has besides those of this one."""
        self.kind, self.environments, self.gpus = kind, environments, gpus
        self._workers: dict[str, psutil.Popen] = {}
        self._logs: dict[str, Path] = {}

    def shards(self, runs: int) -> int:
        return min(runs, len(self.environments))

    def start(self, sweep: str, files: Sequence[Path]) -> list[str]:
        try:
            return [self._start(*each) for each in zip(files, self.environments, strict=False)]
        except BaseException:
            self.cancel(sweep)
            raise

    def _start(self, file: Path, environment: Mapping[str, str]) -> str:
        log = file.with_suffix(".log")
        with open(log, "ab") as out:
            process = psutil.Popen(
                [sys.executable, "-m", WORKER, str(file)],
                cwd=PROJECT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                # In a session of its own: Ctrl-C is for the command, which then tells its workers.
                start_new_session=True,
            )
        job = str(process.pid)
        self._workers[job], self._logs[job] = process, log
        return job

    def alive(self, sweep: str) -> set[str]:
        return {job for job, process in self._workers.items() if process.poll() is None}

    def fate(self, job: str) -> str:
        status = self._workers[job].poll()
        if not status:
            return ""
        return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"

    def log(self, job: str) -> str:
        return str(self._logs[job])

    def cancel(self, sweep: str) -> None:
        running = [self._workers[job] for job in self.alive(sweep)]
        for process in running:
            process.terminate()
        _, left = psutil.wait_procs(running, ENDING_SECONDS)
        for process in left:
            process.kill()
        psutil.wait_procs(left, ENDING_SECONDS)
