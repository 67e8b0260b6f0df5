"""`hydra/launcher=batched`: hands all jobs of a multirun to the task at once.

Hydra imports this file whenever it scans for plugins, so it imports nothing heavy; `_core` does the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class BatchedLauncherConf:
    _target_: str = "hydra_plugins.batched_launcher.batched_launcher.BatchedLauncher"


ConfigStore.instance().store(
    group="hydra/launcher", name="batched", node=BatchedLauncherConf, provider="batched_launcher"
)


class BatchedLauncher(Launcher):
    """Calls the task's method `batch` once for all jobs, instead of the task for each."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from hydra_plugins.batched_launcher._compose import Templates

        if not hasattr(task_function, "batch"):
            raise HydraException("hydra/launcher=batched…: expected a task that takes jobs together (pipeline.train)")
        self.config, self.task_function, self.hydra_context = config, task_function, hydra_context
        self.templates = Templates(hydra_context.config_loader)
        self.templates.install()

    def pool(self) -> object:
        """What trains the runs elsewhere, in shards; None if this machine does."""
        return None

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from hydra_plugins.batched_launcher import _core

        return _core.launch(self, job_overrides, initial_job_idx)
