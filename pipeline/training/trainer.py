"""Trains jobs with the configured trainer: the engine, the stacked engine for JAX or the reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.config.run_config import RunConfig
from pipeline.models.devices import Device
from pipeline.training.checkpoints import Checkpoints, NoCheckpoints
from pipeline.training.outcome import Done, Epoch, Event, Prune, never_prune
from pipeline.training.splits import Split

__all__ = ["Done", "Epoch", "Event", "Prune", "never_prune", "train"]


def train(
    jobs: Sequence[RunConfig],
    split: Split,
    classes: int,
    device: Device,
    checkpoints: Checkpoints | None = None,
    prune: Prune = never_prune,
) -> Iterator[Event]:
    """Train `jobs` on one split and yield events (`Epoch`, `Done`) with the job's index in `jobs`.

    A run with a checkpoint resumes from it. A run that fails, diverges or is pruned ends with a `Done` that says so; the
    others continue.
    """
    from pipeline.models import devices

    devices.start(device)
    numbered, checkpoints = list(enumerate(jobs)), checkpoints or NoCheckpoints()
    program = devices.program(device.trainer, device.backend)
    if program == "reference":
        from pipeline.training import reference

        yield from reference.train(numbered, split, classes, device, checkpoints, prune)
    elif program == "engine":
        from pipeline.training import engine

        yield from engine.train(numbered, split, classes, device, checkpoints, prune=prune)
    else:
        from pipeline.training import stacked

        yield from stacked.train(numbered, split, classes, device, checkpoints, prune=prune)
