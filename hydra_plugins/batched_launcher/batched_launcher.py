"""`hydra/launcher=batched`: hands all jobs of a multirun to the task function at once.

The face that Hydra scans at every start: it must stay light. What it does is in `_core`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from hydra_plugins.batched_launcher._compose import Templates


@dataclass
class BatchedLauncherConf:
    _target_: str = "hydra_plugins.batched_launcher.batched_launcher.BatchedLauncher"


ConfigStore.instance().store(
    group="hydra/launcher", name="batched", node=BatchedLauncherConf, provider="batched_launcher"
)


class BatchedLauncher(Launcher):
    """Runs `task_function.batch(configs)` where the task function has it, else behaves as the basic launcher."""

    def __init__(self) -> None:
        self.config: DictConfig | None = None
        self.task_function: TaskFunction | None = None
        self.hydra_context: HydraContext | None = None
        self.templates: Templates | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from hydra_plugins.batched_launcher._compose import Templates

        self.config, self.task_function, self.hydra_context = config, task_function, hydra_context
        if hasattr(task_function, "batch"):
            self.templates = Templates(hydra_context.config_loader)
            self.templates.install()

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from hydra_plugins.batched_launcher import _core

        return _core.launch(self, job_overrides, initial_job_idx)
