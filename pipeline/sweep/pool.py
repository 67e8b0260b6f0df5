"""A pool starts the workers of a sweep's shards, on this machine or others, and knows which of them are alive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from pipeline.cli.errors import UserError
from pipeline.models import devices
from pipeline.models.devices import Device


class Pool(Protocol):
    """`hydra/launcher=batched_slurm` provides a pool; otherwise this machine's GPUs or cores may be one."""

    kind: str
    """`slurm`, `gpus` or `cores`."""
    cpus: int
    """CPU cores per shard."""
    gpus: int
    """GPUs per shard."""
    workers: int | None
    """Runs that a shard trains at a time; None for the default of the device."""
    poll_seconds: float
    """Seconds between checks of the workers."""

    def shards(self, runs: int) -> int:
        """Return the number of shards for these runs."""

    def start(self, sweep: str, files: Sequence[Path]) -> list[str]:
        """Start a worker per file, under the name `sweep`. Return the ids of these jobs.

        Raises UserError if they are refused. If it ends early, it leaves no job running.
        """

    def alive(self, sweep: str) -> set[str] | None:
        """Return waiting and running jobs of that name, also of an earlier command; None if this is not known at present."""

    def end_of(self, job: str) -> str:
        """Return how a job ended, as text; empty if nothing is known."""

    def log(self, job: str) -> str:
        """Return the file with the output of a job."""

    def cancel(self, sweep: str) -> None:
        """End the jobs of that name and wait for them; finished runs stay."""


def choose_device(settings: dict[str, Any], pool: Pool | None) -> Device:
    """Return the device that runs train on, in the pool or on this machine. A pool has GPUs if its shards request them."""
    settings = {name: value for name, value in settings.items() if name != "gpus"}
    if pool is None:
        return devices.choose(**settings)
    if not pool.gpus:
        if settings["kind"] == "gpu":
            raise UserError("device=gpu: a share has none; hydra.launcher.gpus_per_share=1 asks for one")
        return devices.choose(**settings | {"kind": "cpu", "workers": settings["workers"] or pool.cpus})
    if settings["kind"] == "cpu":
        raise UserError(
            f"hydra.launcher.gpus_per_share={pool.gpus}: device=cpu uses none; device=auto or gpus_per_share=0"
        )
    # The GPU is on another machine, so this one is asked for a CPU, which it cannot refuse.
    chosen = devices.choose(**settings | {"kind": "cpu", "precision": "float32", "workers": 1})
    stacked = chosen.backend == "jax" and chosen.trainer == "engine"
    stack = (settings["stack"] or devices.STACKS["gpu"]) if stacked else 1
    return replace(chosen, kind="gpu", precision=settings["precision"], stack=stack)


def as_recorded(numerics: Mapping[str, Any], **unchanging: Any) -> Device:
    """The device that computes as that of a stored run did; `unchanging` settings change no number. Raises UserError if it is not here."""
    try:
        kind, stacks = numerics["device"], numerics["backend"] == "jax"
        deciding = {name: numerics[name] for name in ("backend", "precision", "xla", "trainer")}
        return devices.choose(kind, stack=numerics["stack"] if stacks else 0, **deciding, **unchanging)
    except KeyError as error:  # another release wrote them
        raise UserError(f"its numerics have no {error}") from error


def check_one_set_up(asked: Iterable[Device]) -> None:
    """Raise UserError unless a single set-up serves these devices: a process sets up libraries, threads and GPUs only once."""
    found = dict.fromkeys(f"{device.kind} {device.backend} {device.trainer}" for device in asked)
    if len(found) > 1:
        raise UserError(
            f"device: expected one kind, backend and trainer per command, got {', '.join(found)}; use a command for each"
        )


def on_this_machine(device: Device) -> bool:
    """Whether this machine has the device that a run was trained on."""
    return device.kind != "gpu" or devices.gpu_available(device.backend)
