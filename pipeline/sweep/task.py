"""What Hydra calls with the runs of `pipeline.train`."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from pipeline.cli.errors import RunFailed, UserError
from pipeline.config import commandline, compose
from pipeline.config.compose import ConfigurationError
from pipeline.sweep.leftovers import remove_leftovers

if TYPE_CHECKING:
    from pipeline.sweep.outcome import Outcome
    from pipeline.sweep.plan import Plan
    from pipeline.sweep.pool import Pool
    from pipeline.sweep.session import Session


class TrainTask:
    """What Hydra calls with the runs of a command: all together, in several batches, or one by one.

    Whichever way they come, they are one sweep, which lasts until the `with` block of this object ends.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self.session: Session | None = None
        self.settings: dict[str, Any] | None = None
        """What all runs share, as the first one has it; None until Hydra has handed over a run."""
        self.refused: UserError | None = None
        self.failed: RunFailed | None = None
        """The first run that failed; the others are trained nevertheless."""
        self._plan: Plan = ()
        self._pool: Pool | None = None
        self._open = ExitStack()
        self._process = os.getpid()

    def __enter__(self) -> TrainTask:
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def __call__(self, config: DictConfig) -> float:
        """Train one run; its objective, for a sweeper to maximise. NaN where there is none."""
        self._refuse_other_process()
        words = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
        assert isinstance(words, list)
        if self.refused is None:
            # Hydra would print a line of its own about what is raised here.
            try:
                for _, outcome in self.batch([compose.plain(config)], [words]):
                    return outcome()
            except UserError as error:
                self.refused = error
        hydra = HydraConfig.get()
        remove_leftovers(Path(hydra.runtime.output_dir), Path(hydra.sweep.dir))
        return math.nan

    def batch(
        self, configs: list[dict[str, Any]], overrides: list[list[str]], pool: Pool | None = None
    ) -> Generator[tuple[int, Callable[[], float]]]:
        """Train runs together; yields `(position, outcome)` as they end. With `plan=true`, nothing.

        `overrides` are the words that made each configuration; a `pool` trains the runs elsewhere, in shards. Raises
        ConfigurationError with every problem of every configuration before anything of them is written.
        """
        from pipeline.sweep.plan import make_plan, shared_problems
        from pipeline.sweep.session import opened

        if self.settings and (problems := shared_problems([self.settings, *configs])):
            raise ConfigurationError(problems)
        self.settings = self.settings or configs[0]
        plan = make_plan(configs, overrides, pool)
        self._plan += plan
        self._pool = pool
        if self.settings["plan"]:
            return
        if self.session is None:
            words = self.words if _may_have_more() else None
            self.session = self._open.enter_context(opened(plan, self.settings, pool, words))
        else:
            self.session.add(plan)
        with closing(self.session.train()) as ended:
            for position, outcome in ended:
                yield position, partial(self._objective, outcome)

    def _objective(self, outcome: Outcome) -> float:
        """Log the run, within its job; its objective, or NaN if it failed."""
        from pipeline.sweep.messages import log_run

        try:
            return log_run(outcome)
        except RunFailed as error:
            self.failed = self.failed or error
            return math.nan

    def _refuse_other_process(self) -> None:
        if os.getpid() != self._process:
            chosen = HydraConfig.get().runtime.choices["hydra/launcher"]
            raise UserError(
                f"hydra/launcher={chosen}: its processes do not share a sweep; expected one of "
                f"{', '.join(commandline.LAUNCHERS)}"
            )

    def show_plan(self) -> None:
        """Say what the runs would take, with `plan=true`."""
        if self.settings and self.settings["plan"] and not self.refused:
            from pipeline.sweep.preview import show_plan

            show_plan(self._plan, self.settings, self._pool)


def _may_have_more() -> bool:
    """Whether Hydra may hand over more runs of the same sweep after these."""
    config = HydraConfig.get()
    if config.mode == RunMode.RUN:
        return False
    chosen = config.runtime.choices
    together = chosen["hydra/sweeper"] == "basic" and chosen["hydra/launcher"].startswith("batched")
    return not together or config.sweeper.max_batch_size is not None
