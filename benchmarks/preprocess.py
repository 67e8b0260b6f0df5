"""Seconds and memory of fetch and preprocess as whole processes: python -m benchmarks.preprocess

Needs the MNIST files (python -m pipeline.fetch); writes to a temporary folder.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline.cli.console import PROJECT

RAW = PROJECT / "data" / "raw"
REPEATS = 7


def measure(*command: str) -> tuple[float, int]:
    """Wall-clock seconds and peak memory in MB of one process, start of Python included."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], cwd=PROJECT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}")
    return seconds, usage.ru_maxrss // 1024


def commands(folder: Path) -> dict[str, tuple[str, ...]]:
    outputs = (f"processed={folder}", f"card={folder / 'card.json'}", f"samples={folder / 'samples.png'}")
    return {
        "import pipeline.fetch": ("-c", "import pipeline.fetch"),
        "import pipeline.preprocess": ("-c", "import pipeline.preprocess"),
        "fetch, all four files there": ("-m", "pipeline.fetch", f"raw={RAW}"),
        "preprocess MNIST": ("-m", "pipeline.preprocess", f"raw={RAW}", *outputs),
    }


def main() -> None:
    print(f"{'':32}{'median s':>10}{'slowest s':>11}{'peak MB':>9}   ({REPEATS} processes each)")
    with tempfile.TemporaryDirectory() as folder:
        for name, command in commands(Path(folder)).items():
            runs = [measure(*command) for _ in range(REPEATS)]
            seconds = [run[0] for run in runs]
            print(f"{name:32}{statistics.median(seconds):10.2f}{max(seconds):11.2f}{max(run[1] for run in runs):9}")


if __name__ == "__main__":
    main()
