"""Train networks: one run, or with --multirun (-m) a sweep.

python -m pipeline.train optimizer=adam model.width=256
python -m pipeline.train -m optimizer=sgd,rmsprop,adam model.width=64,512 'seed=range(3)'

Checks everything before it trains. Results are in runs/, logs in outputs/ and multirun/, curves in MLflow (make ui).
-v (--verbose) shows the traceback of an error. --hydra-help shows Hydra's own options.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import hydra
import yaml
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from pipeline.cli import console, terminal
from pipeline.cli.errors import RunsLost, UserError
from pipeline.config import commandline, rules
from pipeline.config.compose import VERSION_BASE, ConfigurationError, help_text, register
from pipeline.sweep.task import TrainTask
from pipeline.tracking.address import redact_credential, refuse_written_logins

register()


def main(argv: Sequence[str]) -> int:
    multirun = commandline.is_multirun(argv)
    asks_hydra = {"-sc", "--shell-completion", "--hydra-help", "--version"} & set(argv)
    if not asks_hydra and (problems := commandline.check(argv, multirun)):
        raise ConfigurationError(problems)
    refuse_written_logins()
    options, overrides = commandline.options_and_overrides([word for word in argv if word not in console.VERBOSE])
    if {"-h", "--help"} & set(argv):
        print(f"{__doc__}\n{help_text([*overrides, *commandline.searched(options)])}")
        return 0
    if multirun and not {"-m", "--multirun"} & set(argv):
        options.append("--multirun")
    searched = [text for text in overrides if text.startswith("hydra.searchpath=")]
    task = TrainTask([*commandline.searched(options), *searched])
    terminal.show("composing")
    with _set_up_for_hydra(options, overrides):
        _run(task, argv)
    if task.failed and multirun:
        raise RunsLost("some runs failed; each is named above, with the command that runs it again") from task.failed
    if task.failed:
        raise task.failed
    return 0


def _run(task: TrainTask, argv: Sequence[str]) -> None:
    """Let Hydra compose the runs and call `task` with them. Raises UserError for a mistake in the command."""
    try:
        hydra.main(**VERSION_BASE, config_path=str(rules.CONF), config_name="config")(task)()
        if task.refused:
            raise task.refused
    except UserError:
        raise
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise UserError(" ".join(str(error).split())) from error
    except Exception as error:
        # Hydra did not call the task, so it may be Hydra that cannot use the command.
        if task.called or not (line := commandline.hydra_problem(argv, error)):
            raise
        raise UserError(line) from error


@contextmanager
def _set_up_for_hydra(options: Sequence[str], overrides: Sequence[str]) -> Iterator[None]:
    """Set the arguments and variables that Hydra and MLflow read, within the block."""
    before = {name: os.environ.get(name) for name in ("HYDRA_FULL_ERROR", "MLFLOW_TRACKING_URI")}
    # Without this, Hydra prints an error itself and ends the process.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        with console.replaced_argv([sys.argv[0], *options, *map(redact_credential, overrides)]):
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def cli() -> None:
    """The command `gap-train`: the same program under a name that shells can complete."""
    console.run(main)


if __name__ == "__main__":
    cli()
