"""What a run costs besides its arithmetic, and whether that grows: sweeps of few and many jobs on `dataset=digits`.

    python -m benchmarks.overhead [few=10] [many=1000] [mnist=0]

Cost per run = (seconds of the sweep - seconds of a sweep of one) / (jobs - 1), one process each: composing, folders,
records, MLflow and the little training that digits take. Memory and open files are the process's own at its end.
`mnist=1000` adds a sweep of that many jobs on MNIST (one epoch, width 64), for its peak memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import measure
from pipeline import console

SMALL = ("dataset=digits", "model.width=16", "training.epochs=5", "optimizer=adam")


def run(jobs: int, *words: str) -> measure.Measured:
    with tempfile.TemporaryDirectory() as folder:
        # Two seeds at the least: one job alone would be a single run.
        return measure.sweep(Path(folder), f"seed=range({jobs})", *words)


def main(argv: Sequence[str]) -> int:
    values = console.words(argv, {"few": "10", "many": "1000", "mnist": "0"}, __doc__ or "")
    few, many, mnist = (int(values[name]) for name in ("few", "many", "mnist"))
    print(measure.machine())
    base = run(2, *SMALL)
    print(f"{2:5} jobs: {base.seconds:7.1f} s, {base.peak_mb} MB", flush=True)
    costs = []
    for jobs in (few, many):
        done = run(jobs, *SMALL)
        costs.append((done.seconds - base.seconds) / (jobs - 2))
        print(
            f"{jobs:5} jobs: {done.seconds:7.1f} s, {1000 * costs[-1]:6.1f} ms per run, {done.peak_mb} MB", flush=True
        )
    print(f"cost per run, {many} jobs over {few}: {costs[1] / costs[0]:.2f}")
    if mnist:
        done = run(mnist, "dataset=mnist", "model.width=64", "training.epochs=1", "optimizer=adam")
        print(f"{mnist:5} jobs on MNIST: {done.seconds:7.1f} s, {done.peak_mb} MB")
    return 0


if __name__ == "__main__":
    console.run(main)
