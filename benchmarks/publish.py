"""Time publishing a sweep of finished runs, and publishing it again when all of it is already there.

    python -m benchmarks.publish [runs=240] [to=http://HOST:PORT]

The runs have all that a real one has (see benchmarks.records), and `pipeline.publish` sends them. Without an address
they go to a new SQLite file.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import measure, records
from pipeline import publish
from pipeline.cli import console
from pipeline.config.run_config import digest
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import Ledger, Sweep


def main(argv: Sequence[str]) -> int:
    values = console.read_options(argv, {"runs": "240", "to": ""}, __doc__ or "")
    print(measure.machine())
    with tempfile.TemporaryDirectory() as folder:
        store = fill(RunStore(Path(folder) / "runs"), int(values["runs"]))
        uri, count = values["to"] or f"sqlite:///{folder}/mlflow.db", len(store.keys())
        for what in ("sent", "looked for, all there"):
            before, used = time.perf_counter(), time.process_time()
            publish.publish(store, publish.target(uri))
            seconds, cpu = time.perf_counter() - before, time.process_time() - used
            print(
                f"{uri.partition(':')[0]}: {count:,} runs {what}: {seconds:.0f} s, {1000 * seconds / count:.1f} ms a run"
                f" ({1000 * cpu / count:.1f} ms of this process)"
            )
    return 0


def fill(store: RunStore, count: int) -> RunStore:
    """Write `count` runs of one sweep into `store` and return it."""
    keys = []
    for seed in range(count):
        run = records.result(seed)
        run.started = f"2026-01-01T{seed // 3600 % 24:02}:{seed // 60 % 60:02}:{seed % 60:02}+00:00"
        store.write(run)
        keys.append(run.key)
    Ledger(store).write(Sweep("benchmark", keys, keys[0], id=digest(keys)))
    return store


if __name__ == "__main__":
    console.run(main)
