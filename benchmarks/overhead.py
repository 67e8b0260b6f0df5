"""Measure the overhead of a run, and whether it grows: sweeps of few and many jobs on `dataset=digits`.

    python -m benchmarks.overhead [few=200] [more=400] [many=1000] [mnist=0] [repeat=3]

Each sweep is one command. The cost per run is that of one more run, (difference in seconds) / (difference in jobs) of
two sweeps: composing, folders, records, MLflow, and the little training that digits take. It is printed for `more` and
for `many` jobs. Sweeps of `few` and `more` jobs run `repeat` times for a median: their start alone varies by 2 s.
`mnist=1000` adds a sweep of 1,000 jobs on MNIST (one epoch, width 64), for its peak memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import measure
from pipeline.cli import console

SMALL = ("dataset=digits", "model.width=16", "training.epochs=5", "optimizer=adam")


def run(jobs: int, *words: str) -> measure.Measured:
    with tempfile.TemporaryDirectory() as folder:
        # `jobs` must be at least 2: one job would be a single run.
        return measure.sweep(Path(folder), f"seed=range({jobs})", *words)


def main(argv: Sequence[str]) -> int:
    values = console.read_options(
        argv, {"few": "200", "more": "400", "many": "1000", "mnist": "0", "repeat": "3"}, __doc__ or ""
    )
    sizes, mnist = [int(values[name]) for name in ("few", "more", "many")], int(values["mnist"])
    print(measure.machine())
    run(2, *SMALL)  # compiles
    seconds: list[float] = []
    costs: list[float] = []
    for jobs in sizes:
        repeat = 1 if jobs == sizes[2] else int(values["repeat"])
        done = sorted((run(jobs, *SMALL) for _ in range(repeat)), key=lambda each: each.seconds)[repeat // 2]
        seconds.append(done.seconds)
        line = (
            f"{jobs:5} jobs: {done.seconds:7.1f} s, {done.cpu:7.1f} CPU s, {done.peak_mb} MB, {done.files} open files"
        )
        if len(seconds) > 1:
            costs.append((seconds[-1] - seconds[-2]) / (jobs - sizes[len(seconds) - 2]))
            line += f", {1000 * costs[-1]:.1f} ms for each further run"
        print(line, flush=True)
    print(f"a run among {sizes[2]} over one among {sizes[1]}: {costs[1] / costs[0]:.2f}")
    if mnist:
        done = run(mnist, "dataset=mnist", "model.width=64", "training.epochs=1", "optimizer=adam")
        print(f"{mnist:5} jobs on MNIST: {done.seconds:7.1f} s, {done.peak_mb} MB")
    return 0


if __name__ == "__main__":
    console.run(main)
