"""`hydra/launcher=batched_slurm` and `batched_submitit_local`: a multirun in shards, each a job of a cluster or a process.

Options of a launcher are declared here and given to the pool that starts the shards (`pipeline.sweep.executors`). Hydra
imports this file whenever it scans for plugins, so it imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.errors import HydraException

from hydra_plugins.batched_launcher.batched_launcher import BatchedLauncher


@dataclass
class BatchedLocalConf:
    _target_: str = "hydra_plugins.cluster_launcher.cluster_launcher.BatchedLocalLauncher"
    # Shares that the runs are divided into; null: as many as runs_per_share makes.
    shares: Optional[int] = None  # noqa: UP045
    # On average: shares have equal work, not equal numbers.
    runs_per_share: int = 64
    # Cores of a share: so many runs of it train at a time on a CPU.
    cpus_per_share: int = 1
    # 0: shares train on the CPU.
    gpus_per_share: int = 0
    # Shares that run at a time; 0: as many as the machine has cores, or GPUs, for.
    at_once: int = 0
    # Seconds between two looks at whether shares still run.
    poll_seconds: float = 1.0


@dataclass
class BatchedSlurmConf(BatchedLocalConf):
    _target_: str = "hydra_plugins.cluster_launcher.cluster_launcher.BatchedSlurmLauncher"
    # Seconds between two calls of squeue. `at_once` is of jobs of the array; 0: as many as the cluster grants.
    poll_seconds: float = 10.0
    # After so many minutes a share is ended.
    timeout_min: int = 720
    # Seconds before the time limit at which a share is told to end.
    signal_seconds: int = 60
    partition: Optional[str] = None  # noqa: UP045
    account: Optional[str] = None  # noqa: UP045
    qos: Optional[str] = None  # noqa: UP045
    constraint: Optional[str] = None  # noqa: UP045
    # Memory of a share; null: the cluster's default.
    mem_gb: Optional[float] = None  # noqa: UP045
    # Any other word of sbatch: {requeue: true, nice: 100}
    additional_parameters: dict[str, Any] = field(default_factory=dict)
    # Lines of shell before the share: module load …
    setup: Optional[list[str]] = None  # noqa: UP045


for name, node in (("batched_submitit_local", BatchedLocalConf), ("batched_slurm", BatchedSlurmConf)):
    ConfigStore.instance().store(group="hydra/launcher", name=name, node=node, provider="cluster_launcher")

LEAST = {
    "shares": 1,
    "runs_per_share": 1,
    "cpus_per_share": 1,
    "gpus_per_share": 0,
    "timeout_min": 1,
    "at_once": 0,
    "poll_seconds": 0.1,
    "mem_gb": 0.1,
    "signal_seconds": 1,
}


class _ShardLauncher(BatchedLauncher):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def pool(self) -> object:
        """What starts the shards. Raises UserError if it cannot do so here."""
        raise NotImplementedError

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        problems = [
            f"hydra.launcher.{name}={self.options[name]}: expected at least {least}"
            for name, least in LEAST.items()
            if self.options.get(name) is not None and self.options[name] < least
        ]
        if problems:
            raise HydraException("; ".join(problems))
        from hydra_plugins.batched_launcher import _core

        return _core.launch(self, job_overrides, initial_job_idx, self.pool())


class BatchedLocalLauncher(_ShardLauncher):
    """Shards as processes on this machine: to try without a cluster what one will do."""

    def pool(self) -> object:
        from pipeline.sweep.executors import local

        return local.pool(self.options)


class BatchedSlurmLauncher(_ShardLauncher):
    """Shards as jobs of Slurm, in arrays."""

    def pool(self) -> object:
        from omegaconf import OmegaConf

        from pipeline.sweep.executors.slurm import Slurm

        plain = {
            name: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            for name, value in self.options.items()
        }
        return Slurm(plain)
