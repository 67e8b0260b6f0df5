"""Time a whole sweep on MNIST, process start and tracking included: the engine against `keras.fit`.

    python -m benchmarks.sweep [optimizers=sgd,momentum,rmsprop,adam,adamw,nadam] [seeds=3] [against=reference]

Optimizers x 4 widths x seeds, 5 epochs each, are trained in two ways: by the batched launcher with the engine, and with
`keras.fit`, one run after the other. `against=` measures the engine alone. Each time is also given as a multiple of the
time of the training's matrix products at the machine's peak, which is measured before and after.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import engine, measure
from pipeline.cli import console

OPTIMIZERS = "sgd,momentum,rmsprop,adam,adamw,nadam"
WIDTHS = (16, 64, 256, 512)
SAMPLES = 50_000
"""Training samples left beside the validation samples."""
WAYS = {"engine": (), "reference": ("device.trainer=reference",)}


def peak() -> float:
    """Return GFLOP/s of all cores on square products with numpy's library only: TensorFlow takes seconds to import."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return max(engine.peak(os.cpu_count() or 1, ("numpy",)) for _ in range(5))


def main(argv: Sequence[str]) -> int:
    defaults = {"optimizers": OPTIMIZERS, "seeds": "3", "against": "reference"}
    values = console.read_options(argv, defaults, __doc__ or "")
    print(measure.machine())
    grid = f"optimizer={values['optimizers']}", f"model.width={','.join(map(str, WIDTHS))}"
    each = len(values["optimizers"].split(",")) * int(values["seeds"])
    flop = each * sum(engine.flop(width, SAMPLES) for width in WIDTHS)
    seconds: dict[str, float] = {}
    for way in ("engine", *(name for name in values["against"].split(",") if name)):
        before = peak()
        with tempfile.TemporaryDirectory() as folder:
            done = measure.sweep(Path(folder), *grid, f"seed=range({values['seeds']})", *WAYS[way])
        gflops = (before + peak()) / 2
        seconds[way] = done.seconds
        ratio = f", {seconds[way] / seconds['engine']:.1f} times the engine" if way != "engine" else ""
        print(
            f"{way:8} {done.seconds:8.1f} s  {done.cpu:8.1f} CPU s  {done.peak_mb:6} MB, "
            f"{done.seconds * gflops * 1e9 / flop:.1f} times its products at {gflops:.0f} GFLOP/s{ratio}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    console.run(main)
