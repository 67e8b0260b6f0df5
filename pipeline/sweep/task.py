"""The task function of `pipeline.train`."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from pipeline.cli import terminal
from pipeline.cli.console import PROJECT
from pipeline.cli.errors import RunFailed, UserError
from pipeline.config import compose

if TYPE_CHECKING:
    from pipeline.sweep.outcome import Outcome
    from pipeline.sweep.pool import Pool

log = logging.getLogger("pipeline.train")


class TrainTask:
    """Hydra calls it with a single run; the batched launcher calls `batch` with all runs of a sweep."""

    def __init__(self, elsewhere: Sequence[str] = ()) -> None:
        """`elsewhere`: overrides that name the user's folders of files, which Hydra passes to no run."""
        self.elsewhere = elsewhere
        self.called, self.trained = False, False
        self.refused: UserError | None = None
        self.failed: RunFailed | None = None
        """The first run that failed; the others are still trained."""

    def __call__(self, config: DictConfig) -> None:
        """Train a single run."""
        hydra = HydraConfig.get()
        overrides = OmegaConf.to_container(hydra.overrides.task, resolve=False)
        assert isinstance(overrides, list)
        # Hydra would print a line of its own about what is raised here.
        try:
            self.batch([compose.plain(config)], [overrides])
        except UserError as error:
            self.refused = error
        if not self.trained:
            remove_leftovers(Path(hydra.runtime.output_dir), Path(hydra.sweep.dir))

    def batch(self, configs: list[dict[str, Any]], overrides: list[list[str]], pool: Pool | None = None) -> None:
        """Train runs together, or print the plan with `plan=true`.

        `overrides` are those that made each configuration; a `pool` trains the runs elsewhere, in shards. Raises
        ConfigurationError with every problem of every configuration before anything of them is written.
        """
        from pipeline.storage import identity
        from pipeline.sweep.plan import make_plan
        from pipeline.sweep.session import Session

        self.called = True
        # In a notebook there may have been another command, and a commit, before this one.
        identity.environment.cache_clear()
        settings = configs[0]
        plan = make_plan(configs, [[*self.elsewhere, *own] for own in overrides], pool)
        if settings["plan"]:
            from pipeline.sweep.estimate import show_plan

            show_plan(plan, settings, pool)
            return
        ended = Session(plan, settings, pool, on_end=self._log).run()
        if ended.unsent and not self.failed:
            raise ended.unsent
        if ended.unsent:
            print(f"warning: {ended.unsent}", file=sys.stderr)
        compare = f"python -m pipeline.compare {shlex.quote(settings['paths']['results'] or settings['paths']['runs'])}"
        terminal.suggest(compare if len(plan) > 1 else "make ui")

    def _log(self, outcome: Outcome) -> None:
        """Log the epochs and end of a run, and keep the first failure."""
        from pipeline.sweep.progress import summary

        self.trained = True
        if result := outcome.result:
            log.info("%s, key %s", outcome.run.name, result.key)
            for point, epoch in enumerate(result.epochs):
                metrics = (f"{name} {values[point]:.6g}" for name, values in result.history.items())
                log.info("epoch %d: %s", epoch, ", ".join(metrics))
            if result.finished:
                log.info(summary(result, outcome.run.name))
                return
        lost = outcome.lost()
        line = f"{lost.name} {lost.status}: {lost.reason}"
        if outcome.failed:
            log.error(line, exc_info=outcome.error)
            self.failed = self.failed or RunFailed(f"{line}; again: {lost.command}")
        else:
            log.warning(line)


def remove_leftovers(folder: Path, sweep: Path) -> None:
    """Remove what Hydra has written to `folder` for jobs that are not trained after all, and the folders that are empty then.

    These are `folder` and what is above it: up to the folder of the `sweep`, or within the checkout or working directory. A
    folder with anything else in it stays.
    """
    ends = {Path.cwd(), PROJECT}
    folder, sweep = folder.absolute(), sweep.absolute()
    above = [parent for parent in folder.parents if parent == sweep or ends & {*parent.parents}]
    with suppress(OSError):
        for name in ("config.yaml", "hydra.yaml", "overrides.yaml"):
            (folder / ".hydra" / name).unlink(missing_ok=True)
        for log in folder.glob("*.log"):
            if not log.stat().st_size:
                log.unlink()
        if (folder / ".hydra").is_dir():
            (folder / ".hydra").rmdir()
        for empty in (folder, *above):
            if [entry.name for entry in empty.iterdir()] == ["multirun.yaml"]:
                (empty / "multirun.yaml").unlink()
            empty.rmdir()
