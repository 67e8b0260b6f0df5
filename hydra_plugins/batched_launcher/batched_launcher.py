"""Launchers that pass all jobs of a multirun to the task at once: `batched` on this machine, `batched_slurm` as Slurm jobs.

Hydra imports this file in every scan for plugins, so heavy imports are in `_core`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class BatchedLauncherConf:
    _target_: str = "hydra_plugins.batched_launcher.batched_launcher.BatchedLauncher"


@dataclass
class BatchedSlurmConf:
    _target_: str = "hydra_plugins.batched_launcher.batched_launcher.BatchedSlurmLauncher"
    _convert_: str = "all"
    # Number of shares (shards of the sweep, one Slurm job each); null to derive it from runs_per_share.
    shares: int | None = None
    # Average number of runs per share; shares have equal work.
    runs_per_share: int = 64
    # CPU cores per share, which is the number of runs that train at a time on a CPU.
    cpus_per_share: int = 1
    # GPUs per share; 0 trains on the CPU.
    gpus_per_share: int = 0
    # Maximum number of shares that run at a time; 0 for no limit.
    at_once: int = 0
    # Seconds between calls of squeue.
    poll_seconds: float = 10.0
    # Time limit of a share in minutes.
    timeout_min: int = 720
    # How many seconds before its time limit a share is signalled to stop.
    signal_seconds: int = 60
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    # Memory per share in GB; null for the cluster's default.
    mem_gb: float | None = None
    # Other sbatch options: {requeue: true, nice: 100}
    additional_parameters: dict[str, Any] = field(default_factory=dict)
    # Shell commands to run before the share, such as module load …
    setup: list[str] | None = None


for name, options in {"batched": BatchedLauncherConf, "batched_slurm": BatchedSlurmConf}.items():
    ConfigStore.instance().store(group="hydra/launcher", name=name, node=options, provider="batched_launcher")


class BatchedLauncher(Launcher):
    """Calls the method `batch` of the task once for all jobs."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from hydra_plugins.batched_launcher._core import Templates

        if not hasattr(task_function, "batch"):
            raise HydraException("hydra/launcher=batched…: expected a task with a method `batch` (pipeline.train)")
        self.config, self.task_function, self.hydra_context = config, task_function, hydra_context
        self.templates = Templates(hydra_context.config_loader)
        # The sweeper composes each job only to check it; `launch` does that too.
        hydra_context.config_loader.load_sweep_config = lambda master_config, sweep_overrides: master_config  # type: ignore[method-assign]

    def pool(self) -> object:
        """Return the pool that trains the runs in shards; None to train on this machine."""
        return None

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from hydra_plugins.batched_launcher import _core

        return _core.launch(self, job_overrides, initial_job_idx)


class BatchedSlurmLauncher(BatchedLauncher):
    """Runs the shards of a sweep as Slurm job arrays."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def pool(self) -> object:
        """Return the pool that starts the shards. Raises UserError if Slurm cannot be used here."""
        from pipeline.sweep.executors.slurm import Slurm

        return Slurm(self.options)
