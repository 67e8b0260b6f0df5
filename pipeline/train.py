"""Train dense networks: one run, or with --multirun (-m) a sweep.

python -m pipeline.train optimizer=adam model.width=256
python -m pipeline.train -m optimizer=sgd,rmsprop,adam model.width=64,512 'seed=range(3)'
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline import console
from pipeline.config import commandline, rules, schema
from pipeline.config.compose import ConfigurationError
from pipeline.errors import PlanShown, RunFailed, RunsLost, UserError, without_logins

if TYPE_CHECKING:
    from pipeline.shares import Pool

schema.register()


refused: list[UserError] = []
"""What the exit status of this process says: why its single run came to nothing (Hydra would add a line of its own to what
is raised), or that MLflow has not all of its results."""


def train(config: DictConfig) -> float:
    """Train the one run that `config` means; returns its objective, for a sweeper to maximise."""
    from pipeline import batch

    hydra_config = HydraConfig.get()
    one_of_many = hydra_config.mode == RunMode.MULTIRUN
    words = OmegaConf.to_container(hydra_config.overrides.task, resolve=False)
    assert isinstance(words, list)
    try:
        runs = batch.run([config], [words], sweep_id=str(hydra_config.sweep.dir) if one_of_many else None)
        [(_, outcome)] = _noting_what_is_unpublished(runs, one_of_many)
        return outcome()
    except PlanShown:
        if not one_of_many:
            _take_back(Path(hydra_config.runtime.output_dir), f"{hydra_config.job.name}.log")
        return math.nan
    except UserError as error:
        if one_of_many:
            raise
        refused.insert(0, error)
        if not isinstance(error, RunFailed):
            _take_back(Path(hydra_config.runtime.output_dir), f"{hydra_config.job.name}.log")
        return math.nan


def _take_back(folder: Path, log: str) -> None:
    """Remove what Hydra wrote for a run that was refused: its three files, an empty log, folders that are empty then."""
    with suppress(OSError):
        for name in ("config.yaml", "hydra.yaml", "overrides.yaml"):
            (folder / ".hydra" / name).unlink(missing_ok=True)
        if (folder / log).exists() and not (folder / log).stat().st_size:
            (folder / log).unlink()
        for empty in (folder / ".hydra", folder, *(up for up in folder.parents if Path.cwd() in up.parents)):
            empty.rmdir()


def train_batch(
    configs: list[DictConfig], overrides: list[list[str]], pool: Pool | None = None
) -> Iterator[tuple[int, Callable[[], float]]]:
    """The same for all runs of a multirun together: what the launcher `batched` calls, and with a pool those for clusters."""
    from pipeline import batch

    return _noting_what_is_unpublished(batch.run(configs, overrides, pool=pool))


def _noting_what_is_unpublished(
    runs: Iterator[tuple[int, Callable[[], float]]], elsewhere: bool = False
) -> Iterator[tuple[int, Callable[[], float]]]:
    """`runs`, whose results are all there; that MLflow has not all of them is said at the end, and by the exit status.

    `elsewhere`: in a process of another launcher's, whose exit status is not the command's.
    """
    from pipeline.tracking import TrackingUnavailable

    try:
        yield from runs
    except TrackingUnavailable as error:
        if elsewhere:
            print(f"warning: {error}", file=sys.stderr)
        else:
            refused.append(error)


train.batch = train_batch  # type: ignore[attr-defined]


def main(argv: Sequence[str]) -> int:
    multirun = bool({"-m", "--multirun"} & set(argv)) or any(word.startswith("sweep=") for word in argv)
    asks_hydra = {"-sc", "--shell-completion", "--hydra-help", "--version"} & set(argv)
    if not asks_hydra and (problems := commandline.check(argv, multirun)):
        raise ConfigurationError(problems)
    _refuse_written_login()
    options, words = commandline.options_and_words([word for word in argv if word not in console.VERBOSE])
    if multirun and not {"-m", "--multirun"} & set(argv):
        options.append("--multirun")
    # Hydra prints errors in its own way and ends the process; with this it lets us.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = [sys.argv[0], *options, *map(_without_login, words)]
    try:
        with _groups_read_once() if {"-h", "--help"} & set(argv) else nullcontext():
            hydra.main(version_base="1.3", config_path=str(rules.CONF), config_name="config")(train)()
    except PlanShown:
        return 0
    except RunFailed as error:
        if multirun:
            raise RunsLost("some runs failed; each is named above, with the command that runs it again") from error
        raise
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise UserError(" ".join(str(error).split())) from error
    except ValueError as error:
        if "Only one of --run" not in str(error):
            raise
        raise UserError(
            f"{' '.join(options)}: expected one of --multirun, --cfg, --info, --shell-completion"
        ) from error
    if refused:
        raise refused[0]
    return 0


@contextmanager
def _groups_read_once() -> Iterator[None]:
    """For its help, Hydra copies what it knows of all configuration anew for each of 89 groups: 0.9 s of 1.25."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    name = "_parse_overrides_and_create_caching_repo"
    whole = getattr(ConfigLoaderImpl, name)
    known: dict[Any, Any] = {}

    def once(self: Any, config_name: str | None, overrides: list[str]) -> Any:
        asked = (id(self), config_name, *overrides)
        if asked not in known:
            known[asked] = whole(self, config_name, overrides)
        return known[asked]

    setattr(ConfigLoaderImpl, name, once)
    try:
        yield
    finally:
        setattr(ConfigLoaderImpl, name, whole)


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
