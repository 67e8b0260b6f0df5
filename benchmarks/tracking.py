"""Time recording a run of a sweep in MLflow: python -m benchmarks.tracking [runs=100] [epochs=5]

The runs have all that a real one has (see benchmarks.records). Each is first looked up by its key.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import records
from pipeline.cli import console
from pipeline.tracking import ParentRun, open_tracker


def main(argv: Sequence[str]) -> int:
    values = console.read_options(argv, {"runs": "100", "epochs": "5"}, __doc__ or "")
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        tracker = open_tracker("sqlite", root=Path(folder))
        tracker.close_stale()
        ready = time.perf_counter() - began
        parent = tracker.begin(ParentRun("benchmark", "sweep", {}))
        seconds = []
        for result in [records.result(seed, int(values["epochs"])) for seed in range(int(values["runs"]))]:
            start = time.perf_counter()
            tracker.publish(result, "benchmark", parent)
            seconds.append(time.perf_counter() - start)
        size = (Path(folder) / "mlflow.db").stat().st_size / len(seconds) / 1e3
    tenth, median, ninetieth = (1e3 * quantile for quantile in statistics.quantiles(seconds, n=10)[::4])
    print(
        f"import and new store {ready:.1f} s; {len(seconds)} runs: median {median:.1f} ms per run"
        f" (10 % {tenth:.1f}, 90 % {ninetieth:.1f}), {size:.0f} kB per run"
    )
    return 0


if __name__ == "__main__":
    console.run(main)
