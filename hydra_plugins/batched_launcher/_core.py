"""The body of the batched launcher: composes the jobs of a sweep and hands them over together.

The task has a method `batch` for the jobs' configurations as plain values, the overrides of each, and a pool; `trained` says
whether anything came of them. The sweep has one folder and one log. A folder for each job, as Hydra's other launchers make,
costs a run more than its record does, and what it would hold is in the store of runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, setup_globals
from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from pipeline.config.compose import plain
from pipeline.sweep.task import remove_leftovers

if TYPE_CHECKING:
    from hydra_plugins.batched_launcher.batched_launcher import BatchedLauncher


def launch(launcher: BatchedLauncher, job_overrides: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """Run the jobs of a sweep, whose numbers begin with `first`. What the task raises is raised here."""
    setup_globals()
    config = launcher.config
    folder = Path(str(config.hydra.sweep.dir)).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with read_write(config.hydra.runtime), open_dict(config.hydra.runtime):
        config.hydra.runtime.output_dir = str(folder)
    _configure_log(launcher.hydra_context, config)
    words = [list(filter_overrides(overrides)) for overrides in job_overrides]
    task: Any = launcher.task_function
    try:
        configs = [_task_config(launcher, number, each) for number, each in enumerate(job_overrides, start=first)]
        with _hydra_config(config):
            task.batch(configs, words, launcher.pool())
    finally:
        if not task.trained:
            remove_leftovers(folder, folder)
    return [JobReturn(overrides=own, status=JobStatus.COMPLETED) for own in words]


def _configure_log(context: HydraContext, config: DictConfig) -> None:
    """The log of the sweep. Hydra 1.4 asks which functions a configuration of logging may call."""
    allowed = {"execution_whitelist"} & {*vars(context)}
    configure_log(config.hydra.job_logging, config.hydra.verbose, **{key: getattr(context, key) for key in allowed})


@contextmanager
def _hydra_config(config: DictConfig) -> Iterator[None]:
    """What `HydraConfig` and `${hydra:…}` give within."""
    before = HydraConfig.instance().cfg
    OmegaConf.set_readonly(config.hydra, True)
    # `set_config` copies all of it.
    HydraConfig.instance().cfg = config  # type: ignore[assignment]
    try:
        yield
    finally:
        HydraConfig.instance().cfg = before


def _task_config(launcher: BatchedLauncher, number: int, overrides: Sequence[str]) -> dict[str, Any]:
    """A job's configuration as plain values without Hydra's part, `${hydra:…}` resolved for this very job."""
    job = launcher.templates.compose(launcher.config, list(overrides))
    with open_dict(job):
        job.hydra.job.id, job.hydra.job.num = str(number), number
    if job.hydra.job.chdir:
        raise HydraException("hydra.job.chdir=true: jobs that run together share one working directory; expected false")
    with _hydra_config(job):
        return plain(job)
