"""Book networks a second: stacked on JAX against `keras.fit`, on the same device.

    python -m benchmarks.gpu [device=gpu] [networks=1000] [stack=256] [fits=2]

`device=cpu` runs the same code in small, to see that it works; its figures say nothing about a GPU.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from benchmarks import engine, measure
from pipeline import console, training
from pipeline.data.arrays import load, split
from pipeline.models import devices


def main(argv: Sequence[str]) -> int:
    values = console.words(argv, {"device": "gpu", "networks": "1000", "stack": "256", "fits": "2"}, __doc__ or "")
    print(measure.machine())
    arrays = load(console.PROJECT / "data" / "processed" / "mnist")
    data = split(arrays, 0)
    seconds: dict[str, float] = {}
    for trainer, count in (("engine", int(values["networks"])), ("reference", int(values["fits"]))):
        device = devices.choose(values["device"], "jax", "float32", True, trainer, 0, int(values["stack"]))
        devices.start(device)
        jobs = [replace(engine.job(512, "rmsprop"), seed=seed) for seed in range(count)]
        started = time.perf_counter()
        done = [
            event for event in training.train(jobs, data, arrays.classes, device) if isinstance(event, training.Done)
        ]
        seconds[trainer] = (time.perf_counter() - started) / count
        finished = sum(event.result.finished for event in done)
        print(f"{device}: {finished} of {count} networks, {count * seconds[trainer]:.1f} s", flush=True)
    rate = 1 / seconds["engine"]
    print(f"{rate:.2f} networks a second, {seconds['reference'] / seconds['engine']:.1f} times keras.fit")
    return 0


if __name__ == "__main__":
    console.run(main)
