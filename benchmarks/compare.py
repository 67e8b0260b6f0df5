"""Measure comparing: the whole command over 1,000 runs of MNIST, and the statistics of one sweep.

    python -m benchmarks.compare [runs=1000] [folder=results/sweep]

The command compares the runs of FOLDER and copies of them under other seeds, stored as a sweep stores them: records,
digests, 10,000 predictions. In a copy 1 % of the predictions are redrawn, and curves and metrics get noise (SD 0.001).
The statistics are of FOLDER alone: contrasts, intervals over seeds and images, gaps at equal training loss.
"""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks import measure
from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.config.digests import array_digest
from pipeline.storage.identity import key_of
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import Sweep
from pipeline.training.result import RunResult

BARS = {"seconds": 20, "MB": 1_000, "statistics": 5}


def copies(originals: Sequence[RunResult], count: int) -> Iterator[RunResult]:
    """Yield `originals`, then copies of them under new seeds, `count` runs in all."""
    step = 1 + max(result.job.seed for result in originals)
    for number, original in zip(range(count), itertools.cycle(originals), strict=False):
        again = number // len(originals)
        yield original if again == 0 else like(original, original.job.seed + again * step)


def like(original: RunResult, seed: int) -> RunResult:
    random, job = np.random.default_rng([seed, *original.job.hidden]), dataclasses.replace(original.job, seed=seed)
    assert original.predictions is not None
    drawn = random.integers(0, original.predictions.max() + 1, len(original.predictions)).astype(np.uint8)
    predictions = np.where(random.random(len(drawn)) < 0.01, drawn, original.predictions)
    return dataclasses.replace(
        original,
        key=key_of(job, original.identity),
        job=job,
        history={
            name: [value + random.normal(0, 1e-3) for value in values] for name, values in original.history.items()
        },
        metrics={name: value + random.normal(0, 1e-3) for name, value in original.metrics.items()},
        digests=original.digests | {"predictions": array_digest(predictions)},
        predictions=predictions,
        probabilities=None,
        weights=None,
        patch=b"",
        environment={name: value for name, value in original.environment.items() if name != "patch"},
    )


def statistics(folder: Path) -> tuple[float, float, int]:
    """Return seconds and processor seconds of the statistics, including their imports, and the number of runs."""
    from pipeline.report.evidence import Evidence
    from pipeline.storage.sources import read_sources

    evidence = Evidence(read_sources([folder]), data=console.PROJECT / "data/processed")
    assert evidence.arrays
    before, cpu = time.perf_counter(), time.process_time()
    assert len(evidence.analyses[evidence.questions[0]].contrasts)
    return time.perf_counter() - before, time.process_time() - cpu, len(evidence.results)


def main(argv: Sequence[str]) -> int:
    values = console.read_options(argv, {"runs": "1000", "folder": "results/sweep"}, __doc__ or "")
    folder, count = console.PROJECT / values["folder"], int(values["runs"])
    if not (folder / "sweep.json").is_file():
        raise UserError(f"{folder}: no runs of a sweep; train them first (dvc repro)")
    sweep, store = Sweep.read(folder), RunStore(folder)
    seconds, cpu, known = statistics(folder)
    with tempfile.TemporaryDirectory() as temporary:
        many = RunStore(Path(temporary) / "runs")
        originals = [run for run in map(store.read, sweep.keys) if run.finished]
        keys = [run.key for run in copies(originals, count) if many.write(run)]
        Sweep("benchmark", keys, sweep.winner).write(many.root)
        done = measure.process(
            "-m", "pipeline.compare", str(many.root), f"out={Path(temporary) / 'reports'}", "tracking=none"
        )
        page = (Path(temporary) / "reports" / "index.html").stat().st_size
    print(measure.machine())
    print(
        f"compare {len(keys)} runs: {done.seconds:.1f} s (bar {BARS['seconds']}), {done.cpu:.1f} s of processor time, "
        f"{done.peak_mb} MB (bar {BARS['MB']}), a page of {page / 1e6:.1f} MB"
    )
    print(f"statistics of {known} runs: {seconds:.2f} s (bar {BARS['statistics']}), {cpu:.2f} s of processor time")
    return 0


if __name__ == "__main__":
    console.run(main)
