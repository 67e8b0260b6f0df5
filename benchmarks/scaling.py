"""A sweep by shares: python -m benchmarks.scaling [runs=48], on a Slurm that SLURM_CONF names: by none, 1, 2 and 4 shares.

docs/scaling.md has what came out.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence

from benchmarks import measure
from pipeline.cli import console
from pipeline.cli.errors import UserError


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


def main(argv: Sequence[str]) -> int:
    shares(int(console.words(argv, {"runs": "48"}, __doc__ or "")["runs"]))
    return 0


if __name__ == "__main__":
    console.run(main)
