"""Helpers of all benchmarks: measure whole processes from outside, and describe the machine."""

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
    """Wall-clock seconds, CPU seconds, peak memory in MB and output of a process with its children; its own open files.

    The memory of several processes is their sum, sampled four times a second; shared libraries count once per process.
    """

    seconds: float
    cpu: float
    peak_mb: int
    output: str
    files: int = 0
    """Largest number of files open at once, sampled four times a second."""


def process(*command: str, env: dict[str, str] | None = None) -> Measured:
    """Run `python COMMAND` to its end and measure it. Raises SystemExit with its output if it fails."""
    with tempfile.TemporaryFile("w+") as output:
        started = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, *command],
            cwd=PROJECT,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            # DVC's stages call `python`, which must be this one.
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", **(env or {})},
        )
        files = held = looks = 0
        while not (ended := os.wait4(child.pid, os.WNOHANG))[0]:
            if looks % 25 == 0:
                files, held = max(files, _open_files(child.pid)), max(held, _held(child.pid))
            looks += 1
            time.sleep(0.01)  # the end may be noticed this much late
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
    """Return kB held by a process and its descendants; shared memory counts once per process."""
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
    """Run `python -m pipeline.train -m WORDS` with tracking; all that it writes goes into `folder`."""
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
    """Return the library that trains and its version; TensorFlow if both are installed."""
    name = "tensorflow" if "tensorflow" in known else "jax"
    return f"{'TensorFlow' if name == 'tensorflow' else 'JAX'} {known.get(name, 'not installed')}"
