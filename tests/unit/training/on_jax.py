"""Trains all runs that the tests of the stacked engine check, in one process with the JAX backend.

`python -m tests.unit.training.on_jax PROCESSED FOUND` reads digits from PROCESSED and writes the results to FOUND.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.run_config import RunConfig
from pipeline.data.arrays import load
from pipeline.models import devices
from pipeline.storage.checkpoints import RunCheckpoints
from pipeline.training import stacked, trainer
from pipeline.training.splits import Part, Split
from tests.support.factory import make_job
from tests.unit.training.trainer import (
    ON_JAX,
    OWN,
    WITH_MORE,
    bits,
    cut,
    device,
    losses,
    one_of_each,
    train,
    unlike,
)


def on(stack: int, **changes: Any) -> devices.Device:
    return device(backend="jax", stack=stack, **changes)


def all_losses(jobs: dict[str, RunConfig], data: Split, stack: int) -> dict[str, dict[str, float]]:
    """Return the losses of jobs that test_fidelity also trains with the engine on TensorFlow."""
    results = train(list(jobs.values()), data, on(stack, precision="float64"))
    return {name: losses(result) for name, result in zip(jobs, results, strict=True)}


def same_bits(data: Split) -> dict[str, bool]:
    """Compare five runs in stacks of two (the last one alone in its stack) with three of them in another order."""
    jobs = [make_job("adam", seed=seed, epochs=2, learning_rate=0.001 * (seed + 1), dropout=0.2) for seed in range(5)]
    first = [bits(result) for result in train(jobs, data, on(2))]
    four, three, two = (bits(result) for result in train([jobs[4], jobs[3], jobs[2]], data, on(2)))
    return {
        "alone or with another": (two, four) == (first[2], first[4]),
        "in another place beside another": three == first[3],
        "seeds differ": len({run["digests"]["final_weights"] for run in first}) == len(jobs),
    }


def out_of_memory(data: Split) -> dict[str, Any]:
    """Train with too little memory: the first stack does not fit, the second fails after one of its runs has ended."""
    sizes: list[int] = []
    train_stack = stacked._train_stack

    def tight(runs: Any, program: Any, *others: Any) -> Any:
        size = program.size
        sizes.append(size)
        if size == 4:
            yield trainer.Done(runs[0].index, runs[0].diverged("its loss is nan"))
        if size > 2:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123456789 bytes")
        yield from train_stack(runs, program, *others)

    jobs = [make_job(seed=seed) for seed in range(5)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stacked, "_train_stack", tight)
        results = train(jobs, data, on(8))
    small = train(jobs[1:], data, on(2))
    return {
        "sizes": sizes,
        "status": [result.status for result in results],
        "as with the small stack": [bits(r) for r in results[1:]] == [bits(r) for r in small],
    }


def in_bytes(data: Split) -> bool:
    """Return whether pixels of 256 levels, which the device stores as bytes, give the same bits as floats do."""

    def levels(part: Part) -> Part:
        return replace(part, source=np.rint(part.source * 255).astype(np.float32) / np.float32(255))

    data = replace(data, train=levels(data.train), held_out=levels(data.held_out), test=levels(data.test))
    assert stacked.Samples(data, 10).train[0].dtype == np.uint8
    as_bytes = bits(train([make_job()], data, on(2))[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stacked, "_in_bytes", lambda images: images)
        return as_bytes == bits(train([make_job()], data, on(2))[0])


def unlucky(data: Split) -> list[tuple[str, str | None, int]]:
    """Return status, reason and epochs of each of three runs in one stack, of which the second diverges."""
    pairs = [(0.01, 0.01), (1000, 1000), (0.02, 0.02)]
    jobs = [make_job(learning_rate=rate, weight_decay=decay, batch_size=10, epochs=2) for rate, decay in pairs]
    results = train(jobs, data, on(3))
    return [(result.status, result.reason, result.metrics["time/epochs"]) for result in results]


def patient(data: Split) -> list[int]:
    """Return the number of epochs after which each run of a stack ends."""
    jobs = [make_job("adam", learning_rate=rate, epochs=9, patience=1, seed=3) for rate in (0.003, 0.03, 0.3)]
    return [len(result.history["train/loss"]) for result in train(jobs, data, on(3))]


def pruned(data: Split) -> list[tuple[str, list[int]]]:
    """Return status and epochs of each run of a stack whose second run is pruned after two epochs."""
    jobs = [make_job(seed=seed, epochs=3) for seed in range(3)]
    results = train(jobs, data, on(3), prune=lambda point: (point.index, point.epoch) == (1, 2))
    return [(result.status, result.epochs) for result in results]


def resumed(data: Split, folder: Path) -> bool:
    """Return whether three runs in stacks of two, stopped after at least two of four epochs, resume bit-identically."""
    jobs = [make_job("adam", seed=seed, epochs=4, dropout=0.2, schedule="cosine") for seed in range(3)]
    whole = [bits(result) for result in train(jobs, data, on(2))]
    kept = RunCheckpoints(folder, [f"{number:064}" for number in range(3)], minutes=1e-9)
    events = trainer.train(jobs, data, 10, on(2), kept)
    next(event for event in events if isinstance(event, trainer.Epoch) and event.epoch == 2)
    events.close()
    assert kept.load(0) is not None
    return [bits(result) for result in train(jobs, data, on(2), checkpoints=kept)] == whole


def main(processed: str, found: str) -> None:
    devices.start(on(2))
    import jax

    digits = load(Path(processed) / "digits")
    data, small = cut(digits, 637), cut(digits, 237)
    content: dict[str, Any] = {"same bits": same_bits(small)}
    content["same bits"]["pixels as bytes or floats"] = in_bytes(small)
    content["same bits"]["stopped and resumed"] = resumed(small, Path(found).parent / "checkpoints")
    # The rest does not depend on exact bits; without optimisations, compiling takes half the time.
    jax.config.update("jax_disable_most_optimizations", True)
    for name, job in one_of_each().items():
        if name in ON_JAX:
            content[name] = all_losses({"another": unlike(job), name: job}, data, 2)[name]
    content["out of memory"] = out_of_memory(small)
    content["unlucky"] = unlucky(small)
    content["patient"] = patient(small)
    content["pruned"] = pruned(small)
    content["more"] = all_losses(WITH_MORE, cut(digits, 1100, held_out=200), 2)
    content["own"] = all_losses(OWN, small, 1)
    Path(found).write_text(json.dumps(content))


if __name__ == "__main__":
    main(*sys.argv[1:])
