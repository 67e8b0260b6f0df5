"""Wide networks in one process and in one per core: python -m benchmarks.cores [width=1024] [depth=2] [seeds=4]

Times whole commands on MNIST, one after the other: three epochs of rmsprop. Run python -m pipeline.fetch and
pipeline.preprocess first. Both commands must train the same weights.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import measure
from pipeline.cli import console
from pipeline.storage.store import RunStore

ONE = """
from pipeline import train
from pipeline.cli import console
from pipeline.sweep.executors import processes
processes.LEAST = float("inf")
console.run(train.main)
"""
"""The command, with a threshold that keeps it from starting processes."""


def main(argv: Sequence[str]) -> int:
    values = console.read_options(argv, {"width": "1024", "depth": "2", "seeds": "4"}, __doc__ or "")
    seconds: dict[str, float] = {}
    weights = []
    with tempfile.TemporaryDirectory() as root:
        for name, program in {"one process": ("-c", ONE), "a process for each core": ("-m", "pipeline.train")}.items():
            folder = Path(root) / name.replace(" ", "-")
            paths = [f"paths.{kept}={folder}/{kept}" for kept in ("runs", "results")]
            shape = [f"model.width={values['width']}", f"model.depth={values['depth']}", "optimizer=rmsprop"]
            words = [*shape, f"seed=range({values['seeds']})", "training.epochs=3", "tracking=none", "device=cpu"]
            took = measure.process(*program, "-m", *words, *paths, f"hydra.sweep.dir={folder}/sweep")
            store = RunStore(folder / "runs")
            weights.append([store.record(key).digests["final_weights"] for key in sorted(store.keys())])
            seconds[name] = took.seconds
            print(f"{name:24}{took.seconds:8.1f} s{took.peak_mb:7} MB", flush=True)
    single, several = seconds.values()
    same = "the same weights" if weights[0] == weights[1] else "OTHER WEIGHTS"
    print(f"{single / several:.2f} times as fast, {same}")
    return 0 if weights[0] == weights[1] else 1


if __name__ == "__main__":
    console.run(main)
