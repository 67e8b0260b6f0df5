"""Trains runs in this process: on a CPU one thread per core, on a GPU stacks of models."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, redirect_stderr
from dataclasses import replace
from functools import partial
from typing import Any, cast

from pipeline.cli import signals
from pipeline.cli.formatting import plural
from pipeline.cli.terminal import say
from pipeline.models import devices
from pipeline.models.devices import Device
from pipeline.storage import identity, numerics
from pipeline.storage.checkpoints import RunCheckpoints
from pipeline.storage.store import RunStore
from pipeline.sweep.outcome import Outcome, Prune
from pipeline.sweep.plan import ASKED_STACK, PlannedRun, in_stack
from pipeline.training import trainer
from pipeline.training.outcome import Epoch, Event
from pipeline.training.result import RunResult
from pipeline.training.splits import split


class ThisProcess:
    """An executor whose results are complete but not yet on disk. It calls `on_start` when libraries are loaded.

    With a `store`, long runs have checkpoints there, and go on from those that an earlier process left.
    """

    def __init__(
        self,
        store: RunStore | None = None,
        on_start: Callable[[], None] = lambda: None,
        on_epoch: Callable[[PlannedRun, Epoch], None] = lambda run, epoch: None,
        prune: Prune | None = None,
    ) -> None:
        self.store, self.on_start, self.on_epoch, self.prune = store, on_start, on_epoch, prune

    def execute(self, runs: Sequence[PlannedRun]) -> Generator[Outcome]:
        """Train runs by device and data set, one pair at a time."""
        groups: dict[tuple[Any, ...], list[PlannedRun]] = {}
        for run in runs:
            groups.setdefault((run.device, run.job.dataset), []).append(run)
        for (device, dataset), group in groups.items():
            data = split(group[0].arrays, dataset)
            start(device)
            # The digest of a fixed training on this machine and device: which machines compute alike.
            computes = numerics.numerics_class(device)
            self.on_start()
            checkpoints, ends = self._checkpoints(group), partial(self._ends, group)
            jobs, classes = [run.job for run in group], group[0].arrays.classes
            events = trainer.train(jobs, data, classes, device, checkpoints, ends)
            with closing(cast("Generator[Event]", events)):
                for event in events:
                    run = group[event.index]
                    if isinstance(event, Epoch):
                        self.on_epoch(run, event)
                    else:
                        yield Outcome(run, complete(run, event.result, computes), error=event.error)
                        if checkpoints:
                            checkpoints.remove(event.index)

    def _checkpoints(self, runs: Sequence[PlannedRun]) -> RunCheckpoints | None:
        if self.store is None:
            return None
        checkpoints = RunCheckpoints(self.store.root, [run.key for run in runs], runs[0].device.checkpoint_minutes)
        if found := checkpoints.found():
            say(f"{plural(found, 'run')} of these go{'es' * (found == 1)} on from a checkpoint")
        return checkpoints

    def _ends(self, runs: Sequence[PlannedRun], point: Epoch) -> bool:
        return self.prune is not None and self.prune(runs[point.index], point)


def start(device: Device) -> None:
    """Load the libraries of the device. Their native output is shown if loading fails, but not after a signal."""
    held = io.StringIO()
    try:
        with redirect_stderr(held), signals.errors_of_stopping():
            devices.start(device)
    except KeyboardInterrupt:
        held = io.StringIO()
        raise
    finally:
        sys.stderr.write(held.getvalue())


def complete(run: PlannedRun, result: RunResult, numerics_class: str) -> RunResult:
    """Return the result with its key and its provenance."""
    key, made_of, asked = run.key, run.identity, {}
    if changed := result.identity.get("numerics"):
        # The stack was halved to fit the memory: another class of numerics, so another key.
        made_of = in_stack(run.identity, changed["stack"])
        key, asked = identity.key_of(run.job, made_of), {ASKED_STACK: str(run.device.stack)}
    environment = {**identity.environment(), "numerics_class": numerics_class, **asked}
    return replace(
        result,
        key=key,
        identity=made_of,
        sources=identity.sources(made_of["numerics"], custom_code=run.job.custom_code),
        patch=identity.uncommitted(),
        environment=environment,
    )
