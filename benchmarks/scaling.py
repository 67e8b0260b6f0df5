"""Time one sweep on more and more cores of this machine, or in more and more shares on Slurm.

    python -m benchmarks.scaling [cores=1,2,4,8,16] [width=512] [runs=16] [backend=]
    python -m benchmarks.scaling shares=0,1,2,4 [runs=48]

By cores: whole commands on MNIST (two optimizers, five epochs, tracking off), each limited to that many cores. Numbers
above the machine's are skipped. Without TensorFlow, JAX trains on the CPU. By shares: sweeps on `dataset=digits`, on
the Slurm that SLURM_CONF names. With 0 shares the command trains in its own processes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec

from benchmarks import measure
from pipeline.cli import console
from pipeline.cli.errors import UserError


def by_cores(counts: Sequence[int], width: str, runs: int, backend: str) -> None:
    there = sorted(os.sched_getaffinity(0))
    backend = backend or ("tensorflow" if find_spec("tensorflow") else "jax")
    words = ["dataset=mnist", "device=cpu", f"device.backend={backend}", "tracking=none"]
    words += ["optimizer=rmsprop,adam", f"model.width={width}", f"seed=range({runs // 2})"]
    print(f"{measure.machine()}; {runs} runs of width {width}, {backend}")
    first: float | None = None
    for count in [count for count in counts if count <= len(there)]:
        os.sched_setaffinity(0, there[:count])  # the command inherits it
        took = sweep(words)
        os.sched_setaffinity(0, there)
        first = first or took.seconds * count
        print(
            f"{count:2} cores: {took.seconds:.1f} s, {took.cpu:.1f} s of processor time, {took.peak_mb} MB, "
            f"{first / took.seconds:.2f} times one core, efficiency {first / took.seconds / count:.0%}",
            flush=True,
        )


def by_shares(counts: Sequence[int], runs: int) -> None:
    if "SLURM_CONF" not in os.environ:
        raise UserError(
            "SLURM_CONF: not set; python tests/support/slurm_node.py start FOLDER prints the line that sets it"
        )
    words = ["dataset=digits", "device=cpu", "tracking=sqlite"]
    words += ["optimizer=sgd,adam", "model.width=16,64", f"seed=range({runs // 4})", "training.epochs=20"]
    for count in counts:
        launcher = ["hydra/launcher=batched_slurm", f"hydra.launcher.shares={count}", "hydra.launcher.poll_seconds=1"]
        took = sweep([*words, *(launcher if count else [])])
        print(
            f"{count} shares: {took.seconds:.1f} s; the command {took.cpu:.1f} s of processor time, {took.peak_mb} MB"
        )


def sweep(words: Sequence[str]) -> measure.Measured:
    """Measure a whole command, with all that it writes in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        places = [f"paths.runs={folder}/runs", f"hydra.sweep.dir={folder}/sweep", f"tracking.uri=sqlite:///{folder}/db"]
        return measure.process("-m", "pipeline.train", "-m", *words, *places)


def main(argv: Sequence[str]) -> int:
    defaults = {"cores": "1,2,4,8,16", "width": "512", "runs": "", "backend": "", "shares": ""}
    values = console.read_options(argv, defaults, __doc__ or "")
    if values["shares"]:
        by_shares([int(count) for count in values["shares"].split(",")], int(values["runs"] or 48))
    else:
        counts = [int(count) for count in values["cores"].split(",")]
        by_cores(counts, values["width"], int(values["runs"] or 16), values["backend"])
    return 0


if __name__ == "__main__":
    console.run(main)
