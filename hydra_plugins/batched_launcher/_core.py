"""The implementation of the batched launchers: composes the jobs of a sweep and passes them to the task together.

The method `batch` of the task takes the jobs' configurations as plain values, the overrides of each job and a pool; its
attribute `trained` says whether anything was trained. The sweep has one folder and one log. Unlike with Hydra's other
launchers, jobs have no folders: creating one takes longer than writing a run's record, and the run store has its content.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, setup_globals
from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.compose import plain
from pipeline.sweep.task import remove_leftovers

if TYPE_CHECKING:
    from hydra_plugins.batched_launcher.batched_launcher import BatchedLauncher


def launch(launcher: BatchedLauncher, job_overrides: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """Run the jobs of a sweep, numbered from `first`. Exceptions of the task propagate."""
    setup_globals()
    config = launcher.config
    folder = Path(str(config.hydra.sweep.dir)).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with read_write(config.hydra.runtime), open_dict(config.hydra.runtime):
        config.hydra.runtime.output_dir = str(folder)
    _configure_log(launcher.hydra_context, config)
    task_overrides = [list(filter_overrides(overrides)) for overrides in job_overrides]
    task: Any = launcher.task_function
    try:
        configs = [_task_config(launcher, number, each) for number, each in enumerate(job_overrides, start=first)]
        with _hydra_config(config):
            task.batch(configs, task_overrides, launcher.pool())
    finally:
        if not task.trained:
            remove_leftovers(folder, folder)
    return [JobReturn(overrides=own, status=JobStatus.COMPLETED) for own in task_overrides]


def _configure_log(context: HydraContext, config: DictConfig) -> None:
    """Configure the log of the sweep. Hydra 1.4 also takes the functions that a logging configuration may call."""
    allowed = {"execution_whitelist"} & {*vars(context)}
    configure_log(config.hydra.job_logging, config.hydra.verbose, **{key: getattr(context, key) for key in allowed})


@contextmanager
def _hydra_config(config: DictConfig) -> Iterator[None]:
    """Set what `HydraConfig` and `${hydra:…}` return in the block."""
    before = HydraConfig.instance().cfg
    OmegaConf.set_readonly(config.hydra, True)
    # Assigned directly, since `set_config` copies the whole configuration.
    HydraConfig.instance().cfg = config  # type: ignore[assignment]
    try:
        yield
    finally:
        HydraConfig.instance().cfg = before


def _task_config(launcher: BatchedLauncher, number: int, overrides: Sequence[str]) -> dict[str, Any]:
    """Return a job's configuration as plain values without `hydra`, with `${hydra:…}` resolved for the job."""
    job = launcher.templates.compose(launcher.config, list(overrides))
    with open_dict(job):
        job.hydra.job.id, job.hydra.job.num = str(number), number
    if job.hydra.job.chdir:
        raise HydraException("hydra.job.chdir=true: expected false, since the jobs share a working directory")
    with _hydra_config(job):
        return plain(job)


class Templates:
    """Replaces a config loader's `load_sweep_config` for one sweep, since Hydra composes each job twice, 34 ms each time.

    Jobs with the same config groups differ only in values. Hydra composes the groups once; each job is a copy of the result
    with its values set. Hydra handles unusual overrides (`+key`, `~key`, `hydra.…`, a package) and invalid ones, for which it
    raises its own error. A test compares the results with Hydra's.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        self.loader = loader
        self.load_sweep_config = loader.load_sweep_config
        self.templates: dict[tuple[str, ...], bytes] = {}
        """Pickled, since unpickling takes 1.5 ms and copying 11 ms."""
        self._groups: dict[str, bool] = {}
        parser = OverridesParser.create(config_loader=loader)
        self._parse = cache(parser.parse_override)

    def compose(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Return the configuration of one job; takes the arguments of `load_sweep_config`."""
        overrides = [self._parse(text) for text in sweep_overrides]
        if any(_is_unusual(override) for override in overrides):
            return self.load_sweep_config(master_config, sweep_overrides)
        groups = [override for override in overrides if self._is_group(override.key_or_group, master_config)]
        chosen = tuple(str(override.input_line) for override in groups)
        if chosen not in self.templates:
            self.templates[chosen] = pickle.dumps(self.load_sweep_config(master_config, list(chosen)))
        job: DictConfig = pickle.loads(self.templates[chosen])  # noqa: S301, our own bytes
        try:
            for override in overrides:
                if override not in groups:
                    OmegaConf.update(job, override.key_or_group, override.value(), merge=True)
        except OmegaConfBaseException:
            return self.load_sweep_config(master_config, sweep_overrides)
        job.hydra.overrides.task = sweep_overrides
        if not OmegaConf.is_interpolation(job.hydra.job, "override_dirname"):  # an interpolation since Hydra 1.4
            job.hydra.job.override_dirname = _override_dirname(overrides, job.hydra.job.config.override_dirname)
        OmegaConf.copy_cache(from_config=master_config, to_config=job)
        return job

    def _is_group(self, key: str, master_config: DictConfig) -> bool:
        if key not in self._groups:
            name, hydras = master_config.hydra.job.config_name, list(master_config.hydra.overrides.hydra)
            # Hydra's search takes 10 ms. A key with a dot is a value, since no folder name in conf/ contains one.
            self._groups[key] = "." not in key and bool(
                self.loader.get_group_options(key, config_name=name, overrides=hydras)
            )
        return self._groups[key]


def _is_unusual(override: Override) -> bool:
    return (
        override.type != OverrideType.CHANGE
        or override.package is not None
        or override.is_hydra_override()
        or override.is_sweep_override()
    )


def _override_dirname(overrides: list[Override], options: DictConfig) -> str:
    texts = sorted(str(each.input_line) for each in overrides if each.key_or_group not in options.exclude_keys)
    return str(options.item_sep).join(texts).replace("=", str(options.kv_sep))
