"""A whole sweep on MNIST, process start and tracking included: the engine against `keras.fit`.

    python -m benchmarks.sweep [seeds=3] [against=reference]

Two ways to run 6 optimizers x 4 widths x seeds, 5 epochs: the batched launcher with the engine, and with
`keras.fit`, one run after the other. `against=` measures the engine alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import measure
from pipeline.cli import console

GRID = ("optimizer=sgd,momentum,rmsprop,adam,adamw,nadam", "model.width=16,64,256,512")
WAYS = {"engine": (), "reference": ("device.trainer=reference",)}


def main(argv: Sequence[str]) -> int:
    values = console.words(argv, {"seeds": "3", "against": "reference"}, __doc__ or "")
    print(measure.machine())
    seconds: dict[str, float] = {}
    for way in ("engine", *(name for name in values["against"].split(",") if name)):
        with tempfile.TemporaryDirectory() as folder:
            done = measure.sweep(Path(folder), *GRID, f"seed=range({values['seeds']})", *WAYS[way])
        seconds[way] = done.seconds
        ratio = f", {seconds[way] / seconds['engine']:.1f} times the engine" if way != "engine" else ""
        print(f"{way:8} {done.seconds:8.1f} s  {done.cpu:8.1f} CPU s  {done.peak_mb:6} MB{ratio}", flush=True)
    return 0


if __name__ == "__main__":
    console.run(main)
