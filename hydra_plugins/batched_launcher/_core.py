"""The body of the batched launcher: composes all jobs, has them run together, and writes Hydra's files for each.

A task function opts in with an attribute `batch`: a function from the jobs' configurations, and the overrides that made
each, to an iterator of `(position, outcome)`, in whatever order jobs end. A launcher that has a pool (see
`hydra_plugins.cluster_launcher`) passes it as a third argument. `outcome()` is called once, in the job's own output folder,
log and HydraConfig; it returns what the task function would have returned, or raises what it would have raised.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import (
    JobReturn,
    JobRuntime,
    JobStatus,
    configure_log,
    env_override,
    filter_overrides,
    run_job,
    setup_globals,
)
from hydra.errors import HydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from hydra_plugins.batched_launcher._compose import Templates

if TYPE_CHECKING:
    from hydra_plugins.batched_launcher.batched_launcher import BatchedLauncher

log = logging.getLogger(__name__)

Outcome = Callable[[], Any]
Batch = Callable[..., Generator[tuple[int, Outcome]]]


class _BatchReturn(JobReturn):
    """A JobReturn that raises a job's error without Hydra's line on stderr, since the batch has reported it."""

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
    _configure_log(context, config, "hydra_logging")
    Path(str(config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
    log.info("Launching %d jobs together", len(job_overrides))
    for number, overrides in enumerate(job_overrides, start=initial_job_idx):
        log.info("\t#%d : %s", number, " ".join(filter_overrides(overrides)))
    templates = launcher.templates or Templates(context.config_loader)

    def compose(position: int) -> DictConfig:
        """Composed anew each time it is needed: kept, the configurations of a thousand jobs would take 300 MB."""
        job = templates.compose(config, list(job_overrides[position]))
        with open_dict(job):
            job.hydra.job.id = str(initial_job_idx + position)
            job.hydra.job.num = initial_job_idx + position
        return job

    returns: dict[int, JobReturn] = {}
    batch: Batch | None = getattr(task, "batch", None)
    if batch is None:
        for position in range(len(job_overrides)):
            returns[position] = _run_alone(context, task, compose(position))
            _configure_log(context, config, "hydra_logging")
        return list(returns.values())
    words = [list(filter_overrides(overrides)) for overrides in job_overrides]
    try:
        configs = [_task_config(compose(position)) for position in range(len(job_overrides))]
        with _hydra_config(config), closing(batch(configs, words, *pool)) as outcomes:
            for position, outcome in outcomes:
                returns[position] = _end_job(context, task, compose(position), outcome)
                _configure_log(context, config, "hydra_logging")
    finally:
        if not returns:
            _take_back(Path(str(config.hydra.sweep.dir)))
    return [returns[position] for position in sorted(returns)]


def _run_alone(context: HydraContext, task: TaskFunction, job: DictConfig) -> JobReturn:
    return run_job(
        hydra_context=context,
        task_function=task,
        config=job,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )


def _end_job(context: HydraContext, task: TaskFunction, job: DictConfig, outcome: Outcome) -> JobReturn:
    """What Hydra's `run_job` does around a job, here around its outcome: files, log, callbacks.

    `run_job` copies the whole configuration several times, which takes 15 ms of processor time more for each job.
    """
    done = _BatchReturn()
    with _hydra_config(job):
        folder = Path(os.path.abspath(Path(str(job.hydra.sweep.dir)) / str(job.hydra.sweep.subdir)))
        with read_write(job.hydra.runtime), open_dict(job.hydra.runtime):
            job.hydra.runtime.output_dir = str(folder)
        done.cfg, done.hydra_cfg = _without_hydra(job), OmegaConf.masked_copy(job, "hydra")
        done.overrides = list(job.hydra.overrides.task)
        done.working_dir = os.getcwd()
        done.task_name = JobRuntime.instance().get("name")
        folder.mkdir(parents=True, exist_ok=True)
        _configure_log(context, job, "job_logging")
        if job.hydra.output_subdir is not None:
            files = {"config": done.cfg, "hydra": done.hydra_cfg, "overrides": job.hydra.overrides.task}
            _write(folder / job.hydra.output_subdir, files)
        with env_override(job.hydra.job.env_set):
            context.callbacks.on_job_start(config=job, task_function=task)
            try:
                done.return_value = outcome()
                done.status = JobStatus.COMPLETED
            except Exception as error:
                done.return_value = error
                done.status = JobStatus.FAILED
        context.callbacks.on_job_end(config=job, job_return=done)
    # Kept, those of a thousand jobs would take 500 MB.
    done.cfg = done.hydra_cfg = None
    return done


def _write(folder: Path, files: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, config in files.items():
        (folder / f"{name}.yaml").write_text(OmegaConf.to_yaml(config), encoding="utf-8")


def _configure_log(context: HydraContext, config: DictConfig, name: str) -> None:
    """`hydra_logging` or `job_logging`. Hydra 1.4 asks which functions a configuration of logging may call."""
    allowed = {"execution_whitelist"} & {*vars(context)}
    configure_log(config.hydra[name], config.hydra.verbose, **{key: getattr(context, key) for key in allowed})


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


def _without_hydra(job: DictConfig) -> DictConfig:
    config = OmegaConf.masked_copy(job, [str(key) for key in job if key != "hydra"])
    OmegaConf.set_struct(config, OmegaConf.is_struct(job))
    return config


def _task_config(job: DictConfig) -> DictConfig:
    """The job's configuration without Hydra's part, `${hydra:…}` resolved for this very job."""
    if job.hydra.job.chdir:
        raise HydraException("hydra.job.chdir=true: jobs that run together share one working directory; expected false")
    with _hydra_config(job):
        config = _without_hydra(job)
        try:
            _check_folder(Path(str(job.hydra.sweep.dir)), str(job.hydra.sweep.subdir))
            OmegaConf.resolve(config)
        except OmegaConfBaseException as error:
            raise HydraException(f"{_failed_key(error, config)}: {str(error).splitlines()[0]}") from error
    return config


def _failed_key(error: OmegaConfBaseException, config: DictConfig) -> str:
    """At which key an interpolation failed: `resolve` does not say, `to_container` does."""
    try:
        OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as again:
        error = again
    return error.full_key or "configuration"


def _check_folder(sweep: Path, subdir: str) -> None:
    """Raise HydraException where no folder can have this name: it is made only when the job has ended."""
    sweep.mkdir(parents=True, exist_ok=True)
    longest_name = os.pathconf(sweep, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255
    if too_long := [part for part in Path(subdir).parts if len(os.fsencode(part)) > longest_name]:
        raise HydraException(
            f"hydra.sweep.subdir: {too_long[0][:40]}… has {len(too_long[0])} letters; expected at most {longest_name}, such as "
            "hydra.sweep.subdir='${hydra.job.num}' or hydra.job.config.override_dirname.exclude_keys=[…]"
        )


def _take_back(folder: Path) -> None:
    """Remove what was written for a sweep of which no job began; a folder with anything else in it stays."""
    with suppress(OSError):
        if [entry.name for entry in folder.iterdir()] == ["multirun.yaml"]:
            (folder / "multirun.yaml").unlink()
        folder = folder.absolute()
        for empty in (folder, *(parent for parent in folder.parents if Path.cwd() in parent.parents)):
            empty.rmdir()
