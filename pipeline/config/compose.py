"""From a composed configuration to a RunConfig, with every problem of it in words."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.cli.errors import UserError
from pipeline.config import rules
from pipeline.config.hydra_version import VERSION_BASE, register_resolver
from pipeline.config.run_config import RunConfig
from pipeline.config.settings import meanings
from pipeline.config.values import WITH_DECAY, WITH_STDDEV


class ConfigurationError(UserError):
    """One or more values that cannot be: `problems` has a line for each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = list(dict.fromkeys(problems))
        super().__init__("; ".join(self.problems))

    @property
    def lines(self) -> list[str]:
        return self.problems


def register() -> None:
    """Make known to Hydra what the files of `conf/` use: `${checkout:}`, `${params:}` and `${tuned:}`."""
    register_resolver("checkout", lambda: str(rules.CONF.parent), replace=True)
    register_resolver("params", rules.param, replace=True)
    register_resolver("tuned", rules.tuned_rate, replace=True)


def described(words: Sequence[str]) -> str:
    """What can be chosen and set, and what it is with these words of `pipeline.train`, as `--help` shows it.

    Hydra's own help reads its configuration again for each group of Hydra's own, too: half a second.
    """
    from hydra.core.global_hydra import GlobalHydra

    def options(group: str) -> list[str]:
        return GlobalHydra.instance().config_loader().get_group_options(group, overrides=elsewhere)

    elsewhere = [word for word in words if word.startswith("hydra.searchpath=")]
    with _hydra() as compose:
        config = compose(words)
        chosen = [f"{group}: {', '.join(names)}" for group in rules.GROUPS if (names := options(group))]
    lines = ["== What can be chosen (group=name) ==", *chosen, "", "== What can be set (key=value), with its value =="]
    meaning, values = dict(meanings()), plain(config)
    in_order = {name: values[name] for name in (*rules.GROUPS, *values) if name in values}
    for key, value in rules.flattened(in_order).items():
        rule = rules.rule_for(key)
        about = f"Expected: {rule.allowed}." if rule else "Set by the file."
        lines += [f"{key}={rules.shown(value)}", f"  {meaning.get(key, '')} {about}".replace("   ", "  ")]
    return "\n".join(lines)


def plain(config: DictConfig) -> dict[str, Any]:
    """The configuration without Hydra's part as plain values, interpolations resolved. Raises ConfigurationError where one cannot be."""
    try:
        values = {str(key): _resolved(config[key]) for key in config if key != "hydra"}
    except (OmegaConfBaseException, RecursionError) as error:
        key = getattr(error, "full_key", None) or "configuration"
        reason = str(error).splitlines()[0].removeprefix("UserError raised while resolving interpolation: ")
        raise ConfigurationError([f"{key}: {reason}"]) from error
    # What `pipeline.fetch` and `pipeline.preprocess` read is no part of a run.
    values.get("dataset", {}).pop("source", None)
    return values


def _resolved(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True, throw_on_missing=True) if OmegaConf.is_config(node) else node


def composed(words: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """The plain values that the words of each command mean."""
    return [plain(config) for config in configs(words)]


def configs(words: Sequence[Sequence[str]]) -> list[DictConfig]:
    """What the words of each command mean, interpolations not yet resolved."""
    with _hydra() as compose:
        return [compose(each) for each in words]


@contextmanager
def _hydra() -> Iterator[Callable[[Sequence[str]], DictConfig]]:
    """Hydra on `conf/`: a function from the words of a command to what they mean. It raises ConfigurationError."""
    from hydra import compose, initialize_config_dir

    def config(words: Sequence[str]) -> DictConfig:
        try:
            return compose("config", list(words))
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigurationError([f"{' '.join(words)}: {' '.join(str(error).split())}"]) from error

    register()
    with initialize_config_dir(str(rules.CONF), **VERSION_BASE):
        yield config


def changed(config: DictConfig, values: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values of `config` with other `values`, by dotted key: 10 ms, where composing anew takes 200."""
    own = copy.deepcopy(config)
    for key, value in values.items():
        OmegaConf.update(own, key, value)
    return plain(own)


def problems(values: dict[str, Any]) -> list[str]:
    """Every value that is out of its range, unknown key, and combination that cannot train; a line each."""
    flat = rules.flattened({section: value for section, value in values.items() if section != "hydra"})
    names = {key: flat.pop(key, None) for key in rules.NAMES}
    for key in ("optimizer.name", "optimizer.class"):
        if not isinstance(names[key], str):
            return [f"{key}={rules.shown(names[key])}: expected a name, which a file of conf/optimizer/ sets"]
    free = ("optimizer.", "model.") if names["model.build"] else ("optimizer.",)
    fixed = {key: rule for key, rule in rules.RULES.items() if not key.startswith(free)}
    own = {key: rule for key in flat if key.startswith(free) and (rule := rules.rule_for(key))}
    return rules.problems(flat, fixed | own, [*fixed, "optimizer.learning_rate"]) or combination_problems(flat)


def combination_problems(flat: dict[str, Any]) -> list[str]:
    """Values that cannot be together, each of them in its range; a line each."""
    found = []

    def needs(key: str, condition: bool, what: str) -> None:
        if not condition:
            found.append(f"{key}={rules.shown(flat[key])}: needs {what}")

    schedule, boundaries = flat["training.schedule"], flat["training.boundaries"]
    if flat.get("optimizer.nesterov"):
        needs("optimizer.nesterov", flat["optimizer.momentum"] != 0, "optimizer.momentum over 0")
    if flat.get("model.kernel_stddev") is not None:
        fitting = flat["model.kernel_initializer"] in WITH_STDDEV
        needs("model.kernel_stddev", fitting, f"model.kernel_initializer to be one of {', '.join(WITH_STDDEV)}")
    if flat["training.patience"]:
        what = "dataset.validation_size over 0, since nothing may be chosen on the test split"
        needs("training.patience", flat["dataset.validation_size"] > 0, what)
    if flat["training.label_smoothing"]:
        fitting = flat["training.loss"] == "categorical_crossentropy"
        needs("training.label_smoothing", fitting, "training.loss=categorical_crossentropy")
    if flat["training.decay"] != 1:
        needs("training.decay", flat["training.decay_epochs"] > 0, "training.decay_epochs, after how many epochs each")
        needs("training.decay", schedule in WITH_DECAY, f"training.schedule to be one of {', '.join(WITH_DECAY)}")
    if flat["training.decay_epochs"]:
        with_epochs = (*WITH_DECAY, "cosine_restarts")
        what = f"training.schedule to be one of {', '.join(with_epochs)}"
        needs("training.decay_epochs", schedule in with_epochs, what)
    if flat["training.power"] != 1:
        needs("training.power", schedule == "polynomial", "training.schedule=polynomial")
    if schedule in ("exponential", "inverse_time", "polynomial"):
        needs("training.schedule", flat["training.decay_epochs"] > 0, "training.decay and training.decay_epochs")
    if schedule == "cosine_restarts":
        needs("training.schedule", flat["training.decay_epochs"] > 0, "training.decay_epochs, of the first period")
    if schedule == "piecewise":
        needs(
            "training.schedule",
            len(boundaries) > 0,
            "training.boundaries and training.factors, such as [10,20] and [0.1,0.01]",
        )
        needs(
            "training.factors",
            len(flat["training.factors"]) == len(boundaries),
            "one factor for each of training.boundaries",
        )
    else:
        for key in ("training.boundaries", "training.factors"):
            needs(key, not flat[key], "training.schedule=piecewise")
    if flat["training.warmup_epochs"]:
        fewer = flat["training.warmup_epochs"] < flat["training.epochs"]
        needs("training.warmup_epochs", fewer, f"more than so many training.epochs, came {flat['training.epochs']}")
    return found


def against_data(job: RunConfig, training_samples: int) -> list[str]:
    """Sizes that do not fit the data set; a line each."""
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
    """The RunConfig that a composed configuration (plain values) means. Raises ConfigurationError with all problems."""
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
