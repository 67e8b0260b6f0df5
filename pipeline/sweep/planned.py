"""A run that a command is about, and how planned runs are trained in one process: by a command itself, or by a share's worker."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline.config.job import Job
from pipeline.data.arrays import Arrays, split
from pipeline.models import devices
from pipeline.models.devices import Device
from pipeline.storage import identity, numerics
from pipeline.training import trainer
from pipeline.training.result import Result

STACK = "stack_asked"
"""In the record of a run whose stack was halved for memory: what `device.stack` was."""


@dataclass
class Planned:
    """One job of the command: what it is, what it runs on, and its result once there is one."""

    job: Job
    device: Device
    arrays: Arrays
    key: str
    identity: dict[str, Any]
    overrides: list[str]
    result: Result | None = None
    error: BaseException | None = None
    trained: bool = False
    numerics_class: str = ""
    """Digest of the fixed training on this machine and device: see `training.numerics`."""
    why_lost: str = ""
    """What became of the share that was to train it, where that ended without a result of it."""

    def begun(self) -> Result:
        """What is known of the run while it trains: no numbers."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        environment = identity.environment()
        return Result(self.key, self.job, "running", identity=self.identity, environment=environment, started=now)

    @property
    def command(self) -> str:
        """What trains this run alone. Not into the sweep's folder of results, which would then hold this run alone."""
        words = [word for word in self.overrides if not word.startswith("paths.results=")]
        return shlex.join(["python", "-m", "pipeline.train", *words])


def train(
    planned: Sequence[Planned],
    positions: Sequence[int],
    heard: Callable[[Job, trainer.Epoch], None] = lambda job, epoch: None,
    ready: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, Result]]:
    """Train the runs at `positions` in this process, grouped by what can share a device and data.

    Yields each position with its result, complete but not on disk, as they end. `heard` is told of epochs, `ready` each
    time the libraries are loaded. Closing the generator ends every worker at its next epoch.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    for position in positions:
        one = planned[position]
        groups.setdefault((one.device, one.job.dataset), []).append(position)
    for (device, dataset), group in groups.items():
        arrays = planned[group[0]].arrays
        data = split(arrays, dataset.validation_size, dataset.train_size)
        devices.start(device)
        computes = numerics.numerics_class(device)
        for position in group:
            planned[position].numerics_class = computes
        ready()
        events = trainer.train([planned[position].job for position in group], data, arrays.classes, device)
        with _closing(events):
            for event in events:
                one = planned[group[event.index]]
                if isinstance(event, trainer.Epoch):
                    heard(one.job, event)
                    continue
                one.error, one.trained = event.error, True
                yield group[event.index], complete(one, event.result)


def complete(one: Planned, result: Result) -> Result:
    """The result with its key and all that it says of where it came from."""
    asked = {}
    if changed := result.identity.get("numerics"):
        # A stack that did not fit the memory was halved: that is another numerics class, so another key.
        one.identity = in_stack(one.identity, changed["stack"])
        one.key = identity.key_of(one.job, one.identity)
        asked = {STACK: str(one.device.stack)}
    result.key, result.identity = one.key, one.identity
    result.sources, result.patch = identity.sources(), identity.uncommitted()
    result.environment = {**identity.environment(), "numerics_class": one.numerics_class, **asked}
    return result


def in_stack(made_of: dict[str, Any], size: int) -> dict[str, Any]:
    """What a run is made of, in a stack of another size."""
    return {**made_of, "numerics": {**made_of["numerics"], "stack": size}}


def score(result: Result) -> float:
    """What runs are chosen by: the best validation accuracy; minus infinity where nothing is held out for choosing."""
    return result.figures.get("best/val_accuracy", float("-inf"))


@contextmanager
def _closing(events: Iterator[Any]) -> Iterator[None]:
    """End the workers also when the loop over their events is left early (Ctrl-C)."""
    try:
        yield
    finally:
        close = getattr(events, "close", None)
        if close:
            close()
