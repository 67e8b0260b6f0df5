"""Turn a composed configuration into a RunConfig, and report every problem."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.cli.errors import UserError
from pipeline.config import rules
from pipeline.config.run_config import RunConfig, Training
from pipeline.config.settings import meanings
from pipeline.config.values import WITH_DECAY, WITH_STDDEV


class ConfigurationError(UserError):
    """One or more invalid values, a line each."""

    def __init__(self, problems: Iterable[str]) -> None:
        super().__init__(*dict.fromkeys(problems))


IS_1_3 = hydra.__version__.startswith("1.3.")

VERSION_BASE: dict[str, Any] = {"version_base": "1.3"} if IS_1_3 else {}
"""Argument of `hydra.main` and `initialize_config_dir`: Hydra 1.3 warns if it is missing, 1.4 if it is given."""


def register() -> None:
    """Register the resolvers of `conf/`: `${checkout:}`, `${params:}` and `${tuned:}`."""
    # OmegaConf 2.3, the version of Hydra 1.3, has a deprecated function called `register_resolver`.
    add: Any = OmegaConf.register_new_resolver if IS_1_3 else OmegaConf.register_resolver
    add("checkout", lambda: str(rules.CONF.parent), replace=True)
    add("params", rules.param, replace=True)
    add("tuned", rules.tuned_rate, replace=True)


def help_text(overrides: Sequence[str]) -> str:
    """Return what `--help` shows: groups, keys, and their values with these overrides of `pipeline.train`.

    Hydra's own help takes half a second, since it reads the configuration again for each of Hydra's groups.
    """
    from hydra.core.global_hydra import GlobalHydra

    def options(group: str) -> list[str]:
        return GlobalHydra.instance().config_loader().get_group_options(group, overrides=elsewhere)

    elsewhere = [override for override in overrides if override.startswith("hydra.searchpath=")]
    with _hydra() as compose:
        config = compose(overrides)
        chosen = [f"{group}: {', '.join(names)}" for group in rules.GROUPS if (names := options(group))]
    lines = ["== Groups (group=name) ==", *chosen, "", "== Keys and their values (key=value) =="]
    meaning, values = dict(meanings()), plain(config)
    in_order = {name: values[name] for name in (*rules.GROUPS, *values) if name in values}
    for key, value in rules.flattened(in_order).items():
        rule = rules.rule_for(key)
        about = f"Expected: {rule.allowed}." if rule else "Set by the file."
        lines += [f"{key}={rules.to_text(value)}", f"  {meaning.get(key, '')} {about}".replace("   ", "  ")]
    return "\n".join(lines)


def plain(config: DictConfig) -> dict[str, Any]:
    """Return the configuration without Hydra's part as plain values, interpolations resolved. Raises ConfigurationError."""
    try:
        values = {str(key): _resolved(config[key]) for key in config if key != "hydra"}
    except (OmegaConfBaseException, RecursionError) as error:
        key = getattr(error, "full_key", None) or "configuration"
        reason = str(error).splitlines()[0].removeprefix("UserError raised while resolving interpolation: ")
        raise ConfigurationError([f"{key}: {reason}"]) from error
    # Only `pipeline.fetch` and `pipeline.preprocess` read it; it is no part of a run.
    values.get("dataset", {}).pop("source", None)
    return values


def _resolved(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True, throw_on_missing=True) if OmegaConf.is_config(node) else node


def composed(overrides: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """Return the plain values of the configuration of each command, given by its overrides."""
    return [plain(config) for config in configs(overrides)]


def configs(overrides: Sequence[Sequence[str]]) -> list[DictConfig]:
    """Return the configuration of each command, given by its overrides; interpolations are not yet resolved."""
    with _hydra() as compose:
        return [compose(each) for each in overrides]


@contextmanager
def _hydra() -> Iterator[Callable[[Sequence[str]], DictConfig]]:
    """Initialize Hydra with `conf/`, and give a function that composes overrides. It raises ConfigurationError."""

    def config(overrides: Sequence[str]) -> DictConfig:
        try:
            return hydra.compose("config", list(overrides))
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigurationError([f"{' '.join(overrides)}: {' '.join(str(error).split())}"]) from error

    register()
    with hydra.initialize_config_dir(str(rules.CONF), **VERSION_BASE):
        yield config


def changed(config: DictConfig, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plain values of `config` with other `values`, by dotted key. Takes 10 ms; composing takes 200."""
    own = copy.deepcopy(config)
    for key, value in values.items():
        OmegaConf.update(own, key, value)
    return plain(own)


def problems(values: dict[str, Any]) -> list[str]:
    """Return every value out of range, unknown key and combination that cannot train, a line each."""
    flat = rules.flattened(values)
    names = {key: flat.pop(key, None) for key in rules.NAMES}
    free = ("optimizer.", "model.") if names["model.build"] else ("optimizer.",)
    fixed = {key: rule for key, rule in rules.RULES.items() if not key.startswith(free)}
    own = {key: rule for key in flat if key.startswith(free) and (rule := rules.rule_for(key))}
    named = {key: name for key, name in names.items() if key.startswith(("dataset.", *free))}
    return (
        rules.name_problems(named | dict.fromkeys(own))
        or rules.problems(flat, fixed | own, [*fixed, "optimizer.learning_rate"])
        or combination_problems(flat)
    )


def combination_problems(flat: dict[str, Any]) -> list[str]:
    """Return the combinations of valid values that cannot train, a line each."""
    schedule, boundaries = flat["training.schedule"], flat["training.boundaries"]
    decays = flat["training.decay_epochs"] > 0
    with_epochs = (*WITH_DECAY, "cosine_restarts")

    def one_of(key: str, *names: str) -> tuple[bool, str]:
        expected = f"{key} to be one of {', '.join(names)}" if len(names) > 1 else f"{key}={names[0]}"
        return flat.get(key) in names, expected

    conditions = [
        # A key, what must hold if its value is not the default, and the same as text.
        ("optimizer.nesterov", flat.get("optimizer.momentum") != 0, "optimizer.momentum over 0"),
        ("model.kernel_stddev", *one_of("model.kernel_initializer", *WITH_STDDEV)),
        (
            "training.patience",
            flat["dataset.validation_size"] > 0,
            "dataset.validation_size over 0: the test split may not choose when training ends",
        ),
        ("training.label_smoothing", *one_of("training.loss", "categorical_crossentropy")),
        ("training.decay", decays, "training.decay_epochs over 0"),
        ("training.decay", *one_of("training.schedule", *WITH_DECAY)),
        ("training.decay_epochs", *one_of("training.schedule", *with_epochs)),
        ("training.power", *one_of("training.schedule", "polynomial")),
        ("training.boundaries", *one_of("training.schedule", "piecewise")),
        ("training.factors", *one_of("training.schedule", "piecewise")),
        ("training.schedule", decays or schedule not in with_epochs[1:], "training.decay_epochs over 0"),
        (
            "training.schedule",
            boundaries or schedule != "piecewise",
            "training.boundaries and training.factors, such as [10,20] and [0.1,0.01]",
        ),
        (
            "training.boundaries",
            len(flat["training.factors"]) == len(boundaries) or schedule != "piecewise",
            "one factor for each in training.factors",
        ),
        (
            "training.warmup_epochs",
            flat["training.warmup_epochs"] < flat["training.epochs"],
            f"more training.epochs than that, got {flat['training.epochs']}",
        ),
    ]
    defaults = {f"training.{field.name}": field.default for field in fields(Training)}
    return [
        f"{key}={rules.to_text(flat[key])}: needs {expected}"
        for key, holds, expected in conditions
        if not holds and flat.get(key) and flat[key] != defaults.get(key)
    ]


def check_against_data(job: RunConfig, training_samples: int) -> list[str]:
    """Return the sizes that do not fit the data set, a line each."""
    data, batch = job.dataset, job.training.batch_size
    left = training_samples - data.validation_size
    used = data.train_size or left
    if left < 1:
        expected = f"expected under {training_samples:,}, the training samples of {data.name}"
        return [f"dataset.validation_size={data.validation_size}: {expected}"]
    if used > left:
        return [f"dataset.train_size={used}: expected at most {left:,}, the training samples left"]
    if batch > used:
        return [f"training.batch_size={batch}: expected at most {used:,}, the training samples left"]
    return []


def to_job(values: dict[str, Any]) -> RunConfig:
    """Return the RunConfig of a composed configuration (plain values). Raises ConfigurationError with all problems."""
    if found := problems(values):
        raise ConfigurationError(found)
    sections = {section: _typed(section, values[section]) for section in ("dataset", "model", "optimizer", "training")}
    model = sections["model"]
    if "build" not in model:
        layers = (model.pop("width"),) * model.pop("depth")
        model["hidden"] = model["hidden"] or layers
    return RunConfig.from_dict({**sections, "seed": values["seed"]})


def _typed(section: str, values: dict[str, Any]) -> dict[str, Any]:
    own = {name: rules.rule_for(f"{section}.{name}") for name in values}
    return {name: rule.typed(values[name]) if rule else values[name] for name, rule in own.items()}
