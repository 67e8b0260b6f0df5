"""The body of the batched launcher: composes all jobs, hands them over together, and has Hydra note how each ended.

The task has a method `batch`: from the jobs' configurations as plain values, and the overrides of each, to an iterator of
`(position, outcome)`, in whatever order jobs end. `outcome()` is called once, as Hydra's job: in its own output folder, log
and HydraConfig; it returns what the task would have returned for this job alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, configure_log, filter_overrides, run_job, setup_globals
from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

from pipeline.config.compose import plain
from pipeline.sweep.leftovers import remove_leftovers

if TYPE_CHECKING:
    from hydra_plugins.batched_launcher.batched_launcher import BatchedLauncher

log = logging.getLogger(__name__)

LONGEST_NAME = 255
"""Bytes of a file's name on the usual file systems."""

Batch = Callable[..., Generator[tuple[int, Callable[[], Any]]]]


def launch(
    launcher: BatchedLauncher, job_overrides: Sequence[Sequence[str]], initial_job_idx: int, *pool: object
) -> list[JobReturn]:
    """Run the jobs of one batch of a sweeper. A `pool`, which trains in shards, goes to the task as a third argument."""
    setup_globals()
    config, context, templates = launcher.config, launcher.hydra_context, launcher.templates
    if config is None or context is None or templates is None:
        raise RuntimeError("BatchedLauncher.launch() before setup()")
    _configure_log(context, config)
    folder = Path(str(config.hydra.sweep.dir))
    folder.mkdir(parents=True, exist_ok=True)
    log.info("Launching %d jobs together", len(job_overrides))
    for number, overrides in enumerate(job_overrides, start=initial_job_idx):
        log.info("\t#%d : %s", number, " ".join(filter_overrides(overrides)))

    def compose(position: int) -> DictConfig:
        """Composed anew each time it is needed: kept, the configurations of a thousand jobs would take 300 MB."""
        job = templates.compose(config, list(job_overrides[position]))
        with open_dict(job):
            job.hydra.job.id = str(initial_job_idx + position)
            job.hydra.job.num = initial_job_idx + position
        return job

    returns: dict[int, JobReturn] = {}
    batch: Batch = launcher.task_function.batch  # type: ignore[union-attr]
    words = [list(filter_overrides(overrides)) for overrides in job_overrides]
    try:
        configs = [_task_config(compose(position)) for position in range(len(job_overrides))]
        with _hydra_config(config), closing(batch(configs, words, *pool)) as outcomes:
            for position, outcome in outcomes:
                returns[position] = run_job(
                    hydra_context=context,
                    task_function=lambda _, outcome=outcome: outcome(),  # type: ignore[misc]
                    config=compose(position),
                    job_dir_key="hydra.sweep.dir",
                    job_subdir_key="hydra.sweep.subdir",
                )
                # Kept, those of a thousand jobs would take 500 MB.
                returns[position].cfg = returns[position].hydra_cfg = None
                _configure_log(context, config)
    finally:
        if not returns:
            remove_leftovers(folder, folder)
    return [returns[position] for position in sorted(returns)]


def _configure_log(context: HydraContext, config: DictConfig) -> None:
    """Hydra's own log, in place of a job's. Hydra 1.4 asks which functions a configuration of logging may call."""
    allowed = {"execution_whitelist"} & {*vars(context)}
    configure_log(config.hydra.hydra_logging, config.hydra.verbose, **{key: getattr(context, key) for key in allowed})


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


def _task_config(job: DictConfig) -> dict[str, Any]:
    """The job's configuration as plain values without Hydra's part, `${hydra:…}` resolved for this very job."""
    if job.hydra.job.chdir:
        raise HydraException("hydra.job.chdir=true: jobs that run together share one working directory; expected false")
    with _hydra_config(job):
        # Hydra makes the folder when a job has ended; its results would be lost to the sweep then.
        name = max(Path(str(job.hydra.sweep.subdir)).parts, key=len, default="")
        if len(name.encode()) > LONGEST_NAME:
            raise HydraException(
                f"hydra.sweep.subdir: a folder's name of {len(name.encode())} letters; expected at most {LONGEST_NAME}, such as "
                "hydra.sweep.subdir='${hydra.job.num}'"
            )
        return plain(OmegaConf.masked_copy(job, [str(key) for key in job if key != "hydra"]))
