"""`hydra/launcher=batched_slurm` and `batched_submitit_local`: a multirun in shares, each of them one job of a cluster.

The face that Hydra scans at every start: it must stay light. The jobs are in `_pools`, Hydra's books are those of `batched`.
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
    # After so many minutes a share is ended.
    timeout_min: int = 720
    # Shares that run at a time; 0: as many as the machine has cores, or cards, for.
    at_once: int = 0
    # Between two looks at whether shares still run.
    poll_seconds: float = 1.0


@dataclass
class BatchedSlurmConf(BatchedLocalConf):
    _target_: str = "hydra_plugins.cluster_launcher.cluster_launcher.BatchedSlurmLauncher"
    # Between two calls of squeue. `at_once` is of jobs of the array; 0: as many as the cluster grants.
    poll_seconds: float = 10.0
    partition: Optional[str] = None  # noqa: UP045
    account: Optional[str] = None  # noqa: UP045
    qos: Optional[str] = None  # noqa: UP045
    constraint: Optional[str] = None  # noqa: UP045
    # Memory of a share; null: the cluster's default.
    mem_gb: Optional[float] = None  # noqa: UP045
    # Seconds before the time limit at which a share is told to end.
    signal_seconds: int = 60
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


class _SharingLauncher(BatchedLauncher):
    kind = ""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from hydra_plugins.batched_launcher import _core
        from hydra_plugins.cluster_launcher import _pools

        problems = [
            f"hydra.launcher.{name}={self.options[name]}: expected at least {least}"
            for name, least in LEAST.items()
            if self.options.get(name) is not None and self.options[name] < least
        ]
        if not hasattr(self.task_function, "batch"):
            problems.append(
                f"hydra/launcher=batched_{self.kind}: expected a program that trains in shares (pipeline.train)"
            )
        if problems:
            raise HydraException("; ".join(problems))
        return _core.launch(self, job_overrides, initial_job_idx, _pools.make(self.kind, self.options))


class BatchedLocalLauncher(_SharingLauncher):
    """Shares as processes on this machine, through submitit's local executor: to try without a cluster what one will do."""

    kind = "submitit_local"


class BatchedSlurmLauncher(_SharingLauncher):
    """Shares as jobs of Slurm, in arrays, through submitit."""

    kind = "slurm"
