"""`hydra/launcher=batched_slurm`: a multirun in shards, each a job of Slurm.

Its options are given to the pool that starts the shards (`pipeline.sweep.executors.slurm`). Hydra imports this file whenever
it scans for plugins, so it imports nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException

from hydra_plugins.batched_launcher.batched_launcher import BatchedLauncher


@dataclass
class BatchedSlurmConf:
    _target_: str = "hydra_plugins.batched_launcher.slurm_launcher.BatchedSlurmLauncher"
    # Shares that the runs are divided into; null: as many as runs_per_share makes.
    shares: Optional[int] = None  # noqa: UP045
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


ConfigStore.instance().store(
    group="hydra/launcher", name="batched_slurm", node=BatchedSlurmConf, provider="batched_launcher"
)

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


class BatchedSlurmLauncher(BatchedLauncher):
    """Shards as jobs of Slurm, in arrays."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def pool(self) -> object:
        """What starts the shards. Raises UserError if it cannot do so here."""
        from omegaconf import OmegaConf

        from pipeline.sweep.executors.slurm import Slurm

        problems = [
            f"hydra.launcher.{name}={self.options[name]}: expected at least {least}"
            for name, least in LEAST.items()
            if self.options[name] is not None and self.options[name] < least
        ]
        if problems:
            raise HydraException("; ".join(problems))
        containers = {name: value for name, value in self.options.items() if OmegaConf.is_config(value)}
        return Slurm({**self.options, **{name: OmegaConf.to_container(each) for name, each in containers.items()}})
