"""The body of the batched launcher: composes all jobs, has them run together, and keeps Hydra's books for each.

A task function opts in with an attribute `batch`: a function from its configurations, and the overrides that made
each, to an iterator of `(position, outcome)`, in whatever order jobs end; a launcher that has a pool (see
`hydra_plugins.cluster_launcher`) hands it over as a third argument. `outcome()` is called once, in the job's own output folder, log
and HydraConfig; it returns what the task function would have returned, or raises what it would have raised.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, run_job, setup_globals
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from hydra_plugins.batched_launcher._compose import Templates
from hydra_plugins.batched_launcher._quicker import only, quicker

if TYPE_CHECKING:
    from hydra_plugins.batched_launcher.batched_launcher import BatchedLauncher

log = logging.getLogger(__name__)

Outcome = Callable[[], Any]
Batch = Callable[..., Generator[tuple[int, Outcome]]]


class BatchReturn(JobReturn):
    """A JobReturn that composes its configurations when they are asked for: kept, those of a thousand jobs are 500 MB.

    A failure is raised without Hydra's line on stderr: the batch has told it already.
    """

    def __init__(self, done: JobReturn, compose: Callable[[], DictConfig]) -> None:
        super().__init__()
        self._compose = compose
        assert done.hydra_cfg is not None  # for the type checker
        self._output_dir: str = done.hydra_cfg.hydra.runtime.output_dir
        self.overrides, self.working_dir, self.task_name = done.overrides, done.working_dir, done.task_name
        self.status, self._return_value = done.status, done._return_value

    @property
    def cfg(self) -> DictConfig:
        job = self._compose()
        with read_write(job), open_dict(job):
            del job["hydra"]
        return job

    @cfg.setter
    def cfg(self, value: Any) -> None:
        """Hydra's class sets it to None to begin with."""

    @property
    def hydra_cfg(self) -> DictConfig:
        job = self._compose()
        with read_write(job.hydra.runtime), open_dict(job.hydra.runtime):
            job.hydra.runtime.output_dir = self._output_dir
        return only(job, "hydra")

    @hydra_cfg.setter
    def hydra_cfg(self, value: Any) -> None:
        """Hydra's class sets it to None to begin with."""

    @property
    def return_value(self) -> Any:
        if self.status == JobStatus.FAILED:
            raise self._return_value
        return self._return_value

    @return_value.setter
    def return_value(self, value: Any) -> None:
        self._return_value = value


def launch(
    launcher: BatchedLauncher, job_overrides: Sequence[Sequence[str]], initial_job_idx: int, *pool: object
) -> list[JobReturn]:
    setup_globals()
    config, context, task = launcher.config, launcher.hydra_context, launcher.task_function
    if config is None or context is None or task is None:
        raise RuntimeError("BatchedLauncher.launch() before setup()")
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    Path(str(config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
    log.info("Launching %d jobs together", len(job_overrides))
    templates = launcher.templates or Templates(context.config_loader)
    for number, overrides in enumerate(job_overrides, start=initial_job_idx):
        log.info("\t#%d : %s", number, " ".join(filter_overrides(overrides)))

    batch: Batch | None = getattr(task, "batch", None)

    def compose(position: int) -> DictConfig:
        # Composed when it is needed and let go again: a thousand whole configurations would be 300 MB.
        job = templates.compose(config, list(job_overrides[position]))
        with open_dict(job):
            job.hydra.job.id = str(initial_job_idx + position)
            job.hydra.job.num = initial_job_idx + position
        return job

    def book(position: int, function: Callable[[DictConfig], Any]) -> JobReturn:
        """One job's output folder, `.hydra` files, log and callbacks around `function`."""
        job = compose(position)
        with quicker() if batch is not None else nullcontext():
            done = run_job(
                hydra_context=context,
                task_function=function,
                config=job,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
        configure_log(config.hydra.hydra_logging, config.hydra.verbose)
        return done

    positions = range(len(job_overrides))
    if batch is None:
        return [book(position, task) for position in positions]
    returns: dict[int, JobReturn] = {}
    words = [list(filter_overrides(overrides)) for overrides in job_overrides]
    before = HydraConfig.instance().cfg
    try:
        with quicker():
            configs = [_task_config(compose(position)) for position in positions]
        HydraConfig.instance().set_config(config)  # of the sweep, for the task to ask how it is launched
        with closing(batch(configs, words, *pool)) as outcomes:
            for position, outcome in outcomes:
                returns[position] = BatchReturn(book(position, partial(_call, outcome)), partial(compose, position))
    finally:
        HydraConfig.instance().cfg = before
        if not returns:
            _take_back(Path(str(config.hydra.sweep.dir)))
    return [returns[position] for position in positions if position in returns]


def _key_of(error: OmegaConfBaseException, job: DictConfig) -> str:
    """Which key an interpolation failed at: `resolve` does not say, `to_container` does."""
    try:
        OmegaConf.to_container(job, resolve=True)
    except OmegaConfBaseException as again:
        error = again
    return error.full_key or "configuration"


def _take_back(folder: Path) -> None:
    """Remove what was written for a sweep of which no job began; a folder with anything else in it stays."""
    with suppress(OSError):
        if [entry.name for entry in folder.iterdir()] == ["multirun.yaml"]:
            (folder / "multirun.yaml").unlink()
        folder = folder.absolute()
        for empty in (folder, *(up for up in folder.parents if Path.cwd() in up.parents)):
            empty.rmdir()


def _check_folder(sweep: Path, subdir: str) -> None:
    """Raise HydraException where no folder can have this name: Hydra makes it only when the job has ended."""
    sweep.mkdir(parents=True, exist_ok=True)
    most = os.pathconf(sweep, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255
    if longest := [part for part in Path(subdir).parts if len(os.fsencode(part)) > most]:
        raise HydraException(
            f"hydra.sweep.subdir: {longest[0][:40]}… has {len(longest[0])} letters; expected at most {most}, such as "
            "hydra.sweep.subdir='${hydra.job.num}' or hydra.job.config.override_dirname.exclude_keys=[…]"
        )


def _call(outcome: Outcome, _: DictConfig) -> Any:
    return outcome()


def _task_config(job: DictConfig) -> DictConfig:
    """The job's configuration without Hydra's part, `${hydra:…}` resolved for this very job."""
    if job.hydra.job.chdir:
        raise HydraException("hydra.job.chdir=true: jobs that run together share one working directory; expected false")
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(job)
    try:
        _check_folder(Path(str(job.hydra.sweep.dir)), str(job.hydra.sweep.subdir))
        with read_write(job), open_dict(job):
            del job["hydra"]
        OmegaConf.resolve(job)
        return job
    except OmegaConfBaseException as error:
        raise HydraException(f"{_key_of(error, job)}: {str(error).splitlines()[0]}") from error
    finally:
        HydraConfig.instance().cfg = before
