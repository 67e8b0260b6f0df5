"""Seconds and memory of fetch and preprocess as whole processes: python -m benchmarks.preprocess [repeats=7]

Needs the MNIST files (python -m pipeline.fetch); writes to a temporary folder. What importing them takes is in benchmarks.startup.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence

from benchmarks import measure
from pipeline.cli import console


def main(argv: Sequence[str]) -> int:
    repeats = int(console.words(argv, {"repeats": "7"}, __doc__ or "")["repeats"])
    print(measure.machine())
    with tempfile.TemporaryDirectory() as folder:
        outputs = (f"processed={folder}", f"card={folder}/card.json", f"samples={folder}/samples.png")
        stages = {"fetch, all four files there": ("fetch",), "preprocess MNIST": ("preprocess", *outputs)}
        for name, (stage, *words) in stages.items():
            runs = [measure.process("-m", f"pipeline.{stage}", *words) for _ in range(repeats)]
            seconds, peak = [run.seconds for run in runs], max(run.peak_mb for run in runs)
            print(f"{name:28} {statistics.median(seconds):5.2f} s  (slowest {max(seconds):.2f}), {peak} MB", flush=True)
    return 0


if __name__ == "__main__":
    console.run(main)
