"""From a composed configuration to a RunConfig, with every problem of it in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.cli.errors import UserError
from pipeline.cli.formatting import nearest
from pipeline.config import rules, schema
from pipeline.config import run_config as j
from pipeline.config.hydra_version import VERSION_BASE


class ConfigurationError(UserError):
    """One or more values that cannot be: `problems` has a line for each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = list(dict.fromkeys(problems))
        super().__init__("; ".join(self.problems))

    @property
    def lines(self) -> list[str]:
        return self.problems


def plain(config: DictConfig) -> dict[str, Any]:
    """The configuration as plain values, interpolations resolved. Raises ConfigurationError where one cannot be."""
    try:
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except (OmegaConfBaseException, RecursionError) as error:
        key = getattr(error, "full_key", None) or "configuration"
        raise ConfigurationError([f"{key}: {str(error).splitlines()[0]}"]) from error
    assert isinstance(values, dict)
    return values  # type: ignore[return-value]


def composed(words: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """The plain values that the words of each command mean."""
    from hydra import compose, initialize_config_dir

    schema.register()
    with initialize_config_dir(str(rules.CONF), **VERSION_BASE):
        return [plain(compose("config", list(each))) for each in words]


def problems(values: dict[str, Any]) -> list[str]:
    """Every value that is out of its range, unknown key, and combination that cannot train; a line each."""
    found: list[str] = []
    flat = _flatten(values)
    optimizer = flat.get("optimizer.name")
    if optimizer not in rules.options("optimizer"):
        names = rules.options("optimizer")
        return [f"optimizer={optimizer}: expected one of {', '.join(names)}{nearest(str(optimizer), names)}"]
    known = rules.known_keys([optimizer])
    for key, value in flat.items():
        if key in ("optimizer.name", "dataset.name"):
            continue
        rule = rules.rule_for(key)
        if rule is None or key not in known:
            where = f" of {optimizer}" if key.startswith("optimizer.") else ""
            found.append(f"{key}: no such key{where}{nearest(key, known)}")
        elif line := rules.complaint(key, value, rule):
            found.append(line)
    found += [f"{key}: missing" for key in known if key not in flat]
    if not found and flat.get("optimizer.nesterov") and flat.get("optimizer.momentum") == 0:
        found.append("optimizer.nesterov=true: needs optimizer.momentum over 0")
    if not found and flat["training.patience"] and not flat["dataset.validation_size"]:
        found.append(
            f"training.patience={flat['training.patience']}: needs dataset.validation_size over 0, "
            "since nothing may be chosen on the test split"
        )
    if not found and flat["training.decay"] != 1 and not flat["training.decay_epochs"]:
        found.append(
            f"training.decay={flat['training.decay']}: needs training.decay_epochs, after how many epochs each"
        )
    return found


def against_data(job: j.RunConfig, training_samples: int) -> list[str]:
    """Sizes that do not fit the data set; a line each."""
    found = []
    left = training_samples - job.dataset.validation_size
    if left < 1:
        found.append(
            f"dataset.validation_size={job.dataset.validation_size}: "
            f"expected under {training_samples:,}, the training samples of {job.dataset.name}"
        )
    elif job.dataset.train_size > left:
        found.append(
            f"dataset.train_size={job.dataset.train_size}: expected at most {left:,}, the training samples left"
        )
    elif job.training.batch_size > (left := job.dataset.train_size or left):
        found.append(
            f"training.batch_size={job.training.batch_size}: expected at most {left:,}, the training samples left"
        )
    return found


def to_job(values: dict[str, Any]) -> j.RunConfig:
    """The RunConfig that a composed configuration (plain values) means. Raises ConfigurationError with all problems."""
    if found := problems(values):
        raise ConfigurationError(found)
    model, training = values["model"], values["training"]
    optimizer = dict(values["optimizer"])
    name = optimizer.pop("name")
    hidden = model["hidden"] if model["hidden"] is not None else [model["width"]] * model["depth"]
    floats = {n: float(v) if _is_float(n, v) else v for n, v in optimizer.items()}
    return j.RunConfig(
        dataset=j.Dataset(**values["dataset"]),
        model=j.Model(
            tuple(hidden),
            model["activation"],
            float(model["dropout"]),
            model["kernel_initializer"],
            float(model["input_dropout"]),
            model["batch_normalization"],
            None if model["max_norm"] is None else float(model["max_norm"]),
        ),
        optimizer=j.Optimizer(name, tuple(sorted(floats.items()))),
        training=j.Training(**training | {"decay": float(training["decay"])}),
        seed=values["seed"],
    )


def _is_float(name: str, value: Any) -> bool:
    """Whether 1 and 1.0 must be one value: all hyper-parameters but the counts (`…_steps`)."""
    return isinstance(value, int) and not isinstance(value, bool) and not name.endswith("_steps")


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
