"""Time the records of runs: writing one, and finding 1,000 finished ones as a sweep does before it trains.

    python -m benchmarks.records [runs=1000]

The runs have all that a real one has: two epochs, 10,000 predictions, the digests of all source files. Finding a run
means reading all of it and checking it against its digests.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import measure
from pipeline.cli import console
from pipeline.config.digests import array_digest
from pipeline.storage import identity
from pipeline.storage.numerics import job
from pipeline.storage.store import RunStore
from pipeline.training.result import FINISHED, RunResult


def result(seed: int, epochs: int = 2) -> RunResult:
    config = job()
    config = dataclasses.replace(config, seed=seed, training=dataclasses.replace(config.training, epochs=epochs))
    rng = np.random.default_rng(seed)
    predictions = rng.integers(0, 10, 10_000).astype(np.uint8)
    names = [f"{side}/{what}" for side in ("running", "train", "val", "gap") for what in ("loss", "accuracy")]
    made_of = identity.identity("0" * 64, {"backend": "tensorflow", "device": "cpu"})
    digests = dict.fromkeys(("initial_weights", "batch_order", "final_weights"), "0" * 64)
    return RunResult(
        key=identity.key_of(config, made_of),
        job=config,
        status=FINISHED,
        history={name: rng.random(epochs).tolist() for name in names},
        metrics={
            name: float(rng.random()) for name in ("test/accuracy", "test/loss", "train/accuracy", "time/train_s")
        },
        digests=digests | {"predictions": array_digest(predictions)},
        identity=made_of,
        environment=identity.environment() | {"numerics_class": "0" * 64},
        sources=identity.sources(made_of["numerics"]),
        predictions=predictions,
    )


def main(argv: Sequence[str]) -> int:
    count = int(console.read_options(argv, {"runs": "1000"}, __doc__ or "")["runs"])
    results = [result(seed) for seed in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(Path(folder))
        before = time.perf_counter()
        for run in results:
            # As in a sweep, the environment is collected once per run.
            run.environment = {**identity.environment(), "numerics_class": "0" * 64}
            store.write(run)
        written = time.perf_counter() - before
        before = time.perf_counter()
        found = sum(store.read(run.key).finished for run in results)
        seconds = time.perf_counter() - before
    print(measure.machine())
    print(f"writing a run's record: {1000 * written / count:.1f} ms; finding {found} finished runs: {seconds:.2f} s")
    return 0


if __name__ == "__main__":
    console.run(main)
