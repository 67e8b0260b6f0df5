"""Hands all jobs of a multirun to the task at once: `hydra/launcher=batched`, and `batched_slurm`, whose shards are jobs of Slurm.

Hydra imports this file whenever it scans for plugins, so it imports nothing heavy; `_core` does the work.
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
    # Shares that the runs are divided into; null: as many as runs_per_share makes.
    shares: int | None = None
    # On average: shares have equal work, not equal numbers.
    runs_per_share: int = 64
    # Cores of a share: so many runs of it train at a time on a CPU.
    cpus_per_share: int = 1
    # 0: shares train on the CPU.
    gpus_per_share: int = 0
    # Shares that run at a time; 0: as many as the cluster grants.
    at_once: int = 0
    # Seconds between two calls of squeue.
    poll_seconds: float = 10.0
    # After so many minutes a share is ended.
    timeout_min: int = 720
    # Seconds before the time limit at which a share is told to end.
    signal_seconds: int = 60
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    # Memory of a share; null: the cluster's default.
    mem_gb: float | None = None
    # Any other word of sbatch: {requeue: true, nice: 100}
    additional_parameters: dict[str, Any] = field(default_factory=dict)
    # Lines of shell before the share: module load …
    setup: list[str] | None = None


for name, options in {"batched": BatchedLauncherConf, "batched_slurm": BatchedSlurmConf}.items():
    ConfigStore.instance().store(group="hydra/launcher", name=name, node=options, provider="batched_launcher")


class BatchedLauncher(Launcher):
    """Calls the task's method `batch` once for all jobs, instead of the task for each."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from hydra_plugins.batched_launcher._core import Templates

        if not hasattr(task_function, "batch"):
            raise HydraException("hydra/launcher=batched…: expected a task that takes jobs together (pipeline.train)")
        self.config, self.task_function, self.hydra_context = config, task_function, hydra_context
        self.templates = Templates(hydra_context.config_loader)
        # The sweeper composes each job only to check it, which `launch` does.
        hydra_context.config_loader.load_sweep_config = lambda master_config, sweep_overrides: master_config  # type: ignore[method-assign]

    def pool(self) -> object:
        """What trains the runs elsewhere, in shards; None if this machine does."""
        return None

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from hydra_plugins.batched_launcher import _core

        return _core.launch(self, job_overrides, initial_job_idx)


class BatchedSlurmLauncher(BatchedLauncher):
    """Shards as jobs of Slurm, in arrays."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def pool(self) -> object:
        """What starts the shards. Raises UserError if it cannot do so here."""
        from pipeline.sweep.executors.slurm import Slurm

        return Slurm(self.options)
