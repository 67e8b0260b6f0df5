"""What grows with a sweep: composing its jobs, dividing it into shares, writing a run beside many others.

    python -m benchmarks.scaling measure=composing [runs=1000]     # plan=true for so many jobs, and for a tenth of them
    python -m benchmarks.scaling measure=shares [runs=48]          # on a Slurm that SLURM_CONF names: 1, 2 and 4 shares
    python -m benchmarks.scaling measure=folders                   # writing a run beside 1,000, 10,000 and 100,000 others

docs/scaling.md has what came out.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence

from benchmarks import measure, records
from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.storage.store import RunStore


def composing(runs: int) -> None:
    words = ["-m", "dataset=digits", "tracking=none", "plan=true", "optimizer=sgd,adam", "model.width=16,32,64,128,256"]
    for count in (runs // 10, runs):
        with tempfile.TemporaryDirectory() as folder:
            seeds = [f"seed=range({count // 10})", f"hydra.sweep.dir={folder}/sweep"]
            took = measure.process("-m", "pipeline.train", *words, *seeds)
        print(f"{count} jobs: {took.seconds:.1f} s, {took.cpu:.1f} s of processor time, {took.peak_mb} MB")


def shares(runs: int) -> None:
    if "SLURM_CONF" not in os.environ:
        raise UserError(
            "SLURM_CONF: not set; python tests/support/slurm_node.py start FOLDER prints the line that sets it"
        )
    grid = ["optimizer=sgd,adam", "model.width=16,64", f"seed=range({runs // 4})", "training.epochs=20"]
    for count in (0, 1, 2, 4):
        launcher = ["hydra/launcher=batched_slurm", f"hydra.launcher.shares={count}", "hydra.launcher.poll_seconds=1"]
        with tempfile.TemporaryDirectory() as folder:
            places = [
                f"paths.runs={folder}/runs",
                f"hydra.sweep.dir={folder}/sweep",
                f"tracking.uri=sqlite:///{folder}/db",
            ]
            words = ["-m", "dataset=digits", "device=cpu", "tracking=sqlite", *places, *grid]
            took = measure.process("-m", "pipeline.train", *words, *(launcher if count else []))
        told = f"{count} share{'s' if count > 1 else ''}" if count else "batched"
        print(f"{told}: {took.seconds:.1f} s; the command {took.cpu:.1f} s of processor time, {took.peak_mb} MB")


def folders() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(folder)
        one = records.result(0)
        for count in (0, 1_000, 10_000, 100_000):
            for number in range(count):
                (store.root / f"{number:064}").mkdir(parents=True, exist_ok=True)
            before = time.perf_counter()
            for _ in range(1_000):
                store.write(one)
            print(f"beside {count:,} runs: {time.perf_counter() - before:.1f} ms on average of 1,000")


def main(argv: Sequence[str]) -> int:
    values = console.words(argv, {"measure": "composing", "runs": ""}, __doc__ or "")
    if values["measure"] == "composing":
        composing(int(values["runs"] or 1000))
    elif values["measure"] == "shares":
        shares(int(values["runs"] or 48))
    elif values["measure"] == "folders":
        folders()
    else:
        raise UserError(f"measure={values['measure']}: expected composing, shares or folders")
    return 0


if __name__ == "__main__":
    console.run(main)
