"""Train dense networks: one run, or with --multirun (-m) a sweep.

python -m pipeline.train optimizer=adam model.width=256
python -m pipeline.train -m optimizer=sgd,rmsprop,adam model.width=64,512 'seed=range(3)'
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.cli import console
from pipeline.cli.errors import RunFailed, RunsLost, UserError, without_logins
from pipeline.config import commandline, compose, rules, schema
from pipeline.config.compose import ConfigurationError
from pipeline.config.hydra_version import VERSION_BASE

if TYPE_CHECKING:
    from pipeline.sweep.outcome import Outcome
    from pipeline.sweep.plan import Plan
    from pipeline.sweep.pool import Pool
    from pipeline.sweep.session import Session

schema.register()


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
                for _, outcome in self.batch([config], [words]):
                    return outcome()
            except UserError as error:
                self.refused = error
        _take_back()
        return math.nan

    def batch(
        self, configs: list[DictConfig], overrides: list[list[str]], pool: Pool | None = None
    ) -> Generator[tuple[int, Callable[[], float]]]:
        """Train runs together; yields `(position, outcome)` as they end. With `plan=true`, nothing.

        `overrides` are the words that made each configuration; a `pool` trains the runs elsewhere, in shards. Raises
        ConfigurationError with every problem of every configuration before anything of them is written.
        """
        from pipeline.sweep.plan import make_plan, shared_problems
        from pipeline.sweep.session import opened

        values = [compose.plain(config) for config in configs]
        if self.settings and (problems := shared_problems([self.settings, *values])):
            raise ConfigurationError(problems)
        self.settings = self.settings or values[0]
        plan = make_plan(values, overrides, pool)
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


def _take_back() -> None:
    """Remove what Hydra wrote for a run that is not trained: its files, an empty log, folders that are empty then."""
    config = HydraConfig.get()
    folder = Path(config.runtime.output_dir)
    written = [folder / ".hydra" / name for name in ("config.yaml", "hydra.yaml", "overrides.yaml")]
    log = folder / f"{config.job.name}.log"
    if log.exists() and not log.stat().st_size:
        written.append(log)
    ends = {Path.cwd(), console.PROJECT}
    above = [up for up in folder.parents if up == Path(config.sweep.dir).absolute() or ends & {*up.parents}]
    with suppress(OSError):
        for file in written:
            file.unlink(missing_ok=True)
        for empty in (folder / ".hydra", folder, *above):
            if [entry.name for entry in empty.iterdir()] == ["multirun.yaml"]:
                (empty / "multirun.yaml").unlink()
            empty.rmdir()


def main(argv: Sequence[str]) -> int:
    from pipeline.storage import identity

    # In a notebook there may have been another command, and a commit, before this one.
    identity.environment.cache_clear()
    multirun = commandline.is_multirun(argv)
    asks_hydra = {"-sc", "--shell-completion", "--hydra-help", "--version"} & set(argv)
    if not asks_hydra and (problems := commandline.check(argv, multirun)):
        raise ConfigurationError(problems)
    _refuse_written_login()
    options, words = commandline.options_and_words([word for word in argv if word not in console.VERBOSE])
    if multirun and not {"-m", "--multirun"} & set(argv):
        options.append("--multirun")
    task = TrainTask(words)
    with _set_up_for_hydra(options, words):
        _run(task, argv)
    if task.failed and multirun:
        raise RunsLost("some runs failed; each is named above, with the command that runs it again") from task.failed
    if task.failed:
        raise task.failed
    return 0


def _run(task: TrainTask, argv: Sequence[str]) -> None:
    """Have Hydra compose the runs and hand them to `task`; what is wrong with them is raised as a UserError."""
    try:
        with task:
            hydra.main(**VERSION_BASE, config_path=str(rules.CONF), config_name="config")(task)()
            task.show_plan()
            if task.refused:
                raise task.refused
    except UserError as error:
        from pipeline.tracking import TrackingUnavailable

        if not (task.failed and isinstance(error, TrackingUnavailable)):
            raise
        print(f"warning: {error}", file=sys.stderr)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise UserError(" ".join(str(error).split())) from error
    except Exception as error:
        # Where Hydra has handed over nothing, it could not make anything of the command.
        line = commandline.hydra_complaint(argv, error) if task.settings is None else ""
        if not line:
            raise
        raise UserError(line) from error


@contextmanager
def _set_up_for_hydra(options: Sequence[str], words: Sequence[str]) -> Iterator[None]:
    """What Hydra and MLflow read of this process, for as long as the command takes."""
    names = ("HYDRA_FULL_ERROR", "MLFLOW_TRACKING_URI")
    before = {name: os.environ.get(name) for name in names}
    # Hydra prints errors in its own way and ends the process; with this it lets us.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        with console.arguments([sys.argv[0], *options, *map(_without_login, words)]):
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _without_login(word: str) -> str:
    """The word without the password that a tracking address may hold, which goes where MLflow's own words look for it.

    Hydra writes every word beside every run, and a run's record and tags have the command in them.
    """
    key, _, value = word.partition("=")
    if key.lstrip("+") != "tracking.uri":
        return word
    from pipeline.tracking.address import redact

    uri = value.strip("'\"")
    shown = redact(uri)
    if shown == uri or "${" in uri:
        return word
    if not os.environ.get("MLFLOW_TRACKING_URI", "").strip():
        os.environ["MLFLOW_TRACKING_URI"] = uri
    return f"{key}='{shown}'"


def _refuse_written_login() -> None:
    for name in rules.options("tracking"):
        text = (rules.CONF / "tracking" / f"{name}.yaml").read_text(encoding="utf-8")
        if without_logins(text) != text:
            raise UserError(
                f"conf/tracking/{name}.yaml: holds a password, which Hydra would copy beside every run; "
                "set MLFLOW_TRACKING_URI to that address instead"
            )


def cli() -> None:
    """The command `gap-train`: the same program under a name that shells can complete."""
    console.run(main)


if __name__ == "__main__":
    cli()
