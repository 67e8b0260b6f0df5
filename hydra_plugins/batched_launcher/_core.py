"""The body of the batched launcher: composes all jobs, hands them over together, and has Hydra note how each ended.

The task has a method `batch`: from the jobs' configurations as plain values, the overrides of each, and a pool, to an iterator
of `(position, outcome)`, in whatever order jobs end. `outcome()` is called once, as Hydra's job: in its own output folder, log
and HydraConfig; it returns what the task would have returned for this job alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, configure_log, filter_overrides, run_job, setup_globals
from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

from pipeline.config.compose import plain
from pipeline.sweep.task import remove_leftovers

if TYPE_CHECKING:
    from hydra_plugins.batched_launcher.batched_launcher import BatchedLauncher

log = logging.getLogger(__name__)


def launch(launcher: BatchedLauncher, job_overrides: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """Run the jobs of a sweep, whose numbers begin with `first`."""
    setup_globals()
    config, context = launcher.config, launcher.hydra_context
    _configure_log(context, config)
    folder = Path(str(config.hydra.sweep.dir))
    folder.mkdir(parents=True, exist_ok=True)
    words = [list(filter_overrides(overrides)) for overrides in job_overrides]
    log.info("Launching %d jobs together", len(words))
    for position, own in enumerate(words):
        log.info("\t#%d : %s", first + position, " ".join(own))

    def compose(position: int) -> DictConfig:
        """Composed anew each time it is needed: kept, the configurations of a thousand jobs would take 300 MB."""
        job = launcher.templates.compose(config, list(job_overrides[position]))
        with open_dict(job):
            job.hydra.job.id, job.hydra.job.num = str(first + position), first + position
        return job

    returns: dict[int, JobReturn] = {}
    batch: Any = launcher.task_function.batch
    try:
        configs = [_task_config(compose(position)) for position in range(len(words))]
        with _hydra_config(config), closing(batch(configs, words, launcher.pool())) as outcomes:
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
        return plain(OmegaConf.masked_copy(job, [str(key) for key in job if key != "hydra"]))
