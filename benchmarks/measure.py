"""What the benchmarks share: whole processes timed from outside, and the machine they ran on."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from pipeline.cli.console import PROJECT
from pipeline.storage.identity import environment


@dataclass(frozen=True)
class Measured:
    """Wall-clock seconds, CPU seconds and peak memory in MB of one process with its children; its own open files.

    Memory of several processes is their sum, looked at four times a second; libraries that they share count for each.
    """

    seconds: float
    cpu: float
    peak_mb: int
    output: str
    files: int = 0
    """The most that were open at once, looked at four times a second."""


def process(*command: str, env: dict[str, str] | None = None) -> Measured:
    """Run `python COMMAND` to its end. Raises SystemExit with its output where it fails."""
    with tempfile.TemporaryFile("w+") as output:
        started = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, *command],
            cwd=PROJECT,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            # DVC's stages say `python`: this one.
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", **(env or {})},
        )
        files = held = looks = 0
        while not (ended := os.wait4(child.pid, os.WNOHANG))[0]:
            if looks % 25 == 0:
                files, held = max(files, _open_files(child.pid)), max(held, _held(child.pid))
            looks += 1
            time.sleep(0.01)  # by so much the end may be noticed late
        _, status, usage = ended
        seconds = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if child.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {child.returncode}\n{text[-2000:]}")
    return Measured(seconds, usage.ru_utime + usage.ru_stime, max(usage.ru_maxrss, held) // 1024, text, files)


def _open_files(pid: int) -> int:
    with suppress(psutil.Error):
        return int(psutil.Process(pid).num_fds())
    return 0


def _held(pid: int) -> int:
    """kB that the process and all that it started hold; what they share counts for each."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        return sum(map(_resident, (process, *process.children(recursive=True)))) // 1024
    return 0


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def sweep(folder: Path, *words: str) -> Measured:
    """`python -m pipeline.train -m WORDS` with all that it writes in `folder`, tracking on."""
    own = ("paths.runs=" + str(folder / "runs"), f"hydra.sweep.dir={folder / 'multirun'}")
    return process(
        "-m", "pipeline.train", "-m", *words, *own, env={"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    )


def machine() -> str:
    known = environment()
    return (
        f"{known.get('cpu', platform.processor())}, {os.cpu_count()} cores, Python {known['python']}, {_backend(known)}"
    )


def _backend(known: dict[str, str]) -> str:
    """The library that trains, where both are installed TensorFlow."""
    name = "tensorflow" if "tensorflow" in known else "jax"
    return f"{'TensorFlow' if name == 'tensorflow' else 'JAX'} {known.get(name, 'not installed')}"
