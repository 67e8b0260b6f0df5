"""What each value may be: one table, used on command lines before anything is composed and on every composed job."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pipeline.cli.errors import UserError
from pipeline.cli.formatting import nearest

CONF = Path(__file__).resolve().parent.parent.parent / "conf"
GROUPS = ("dataset", "model", "optimizer", "training", "device", "tracking", "experiment", "sweep")

SHARED = (
    "paths.data",
    "paths.runs",
    "paths.results",
    "tracking.kind",
    "tracking.uri",
    "question",
    "plan",
    "force",
    "retry",
)
"""Keys that one command has one value of: where its results go, and what of it is to be done."""

ACTIVATIONS = ("relu", "tanh", "sigmoid", "elu", "selu", "gelu", "silu", "softplus", "softsign", "leaky_relu", "linear")
LOSSES = ("categorical_crossentropy", "mean_squared_error", "categorical_focal_crossentropy", "kl_divergence")
INITIALIZERS = (
    "glorot_uniform",
    "glorot_normal",
    "he_uniform",
    "he_normal",
    "lecun_uniform",
    "lecun_normal",
    "random_normal",
    "random_uniform",
    "truncated_normal",
)
WITH_STDDEV = ("random_normal", "random_uniform", "truncated_normal")
"""Initializers whose spread is a value; that of the others follows from the layer."""
SCHEDULES = ("constant", "staircase", "exponential", "cosine", "piecewise")


@dataclass(frozen=True)
class Rule:
    """`accepts(value)` for a value that YAML gave, and the same in words."""

    accepts: Callable[[Any], bool]
    allowed: str
    names: tuple[str, ...] = ()


def integer(low: int, high: int) -> Rule:
    return Rule(lambda v: _is_integer(v) and low <= v <= high, f"a whole number from {low:,} to {high:,}")


def number(low: float, high: float, *, over: bool = False, under: bool = False) -> Rule:
    def accepts(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return False
        return (low < value if over else low <= value) and (value < high if under else value <= high)

    return Rule(
        accepts, f"a number {'over' if over else 'of at least'} {low:g} and {'under' if under else 'at most'} {high:g}"
    )


def choice(names: Iterable[str]) -> Rule:
    names = tuple(names)
    return Rule(lambda v: isinstance(v, str) and v in names, f"one of {', '.join(names)}", names)


def optional(rule: Rule) -> Rule:
    return Rule(lambda v: v is None or rule.accepts(v), f"{rule.allowed}, or null", rule.names)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


BOOLEAN = Rule(lambda v: isinstance(v, bool), "true or false")
TEXT = Rule(lambda v: isinstance(v, str) and v.strip() != "" and "\0" not in v, "a text")
QUESTION = Rule(
    lambda v: TEXT.accepts(v) and len(v) <= 256 and v.isprintable(),
    "a text of at most 256 letters in one line: MLflow's databases take no longer name of an experiment",
)
WIDTHS = Rule(
    lambda v: isinstance(v, list | tuple) and 1 <= len(v) <= 32 and all(_is_integer(w) and 1 <= w <= 65_536 for w in v),
    "a list of 1 to 32 whole numbers from 1 to 65,536, such as [300,100]",
)
BOUNDARIES = Rule(
    lambda v: (
        isinstance(v, list | tuple)
        and len(v) <= 32
        and all(_is_integer(epoch) and 1 <= epoch <= 10_000 for epoch in v)
        and list(v) == sorted(set(v))
    ),
    "a list of at most 32 epochs from 1 to 10,000 in ascending order, such as [10,20]",
)
FACTORS = Rule(
    lambda v: isinstance(v, list | tuple) and len(v) <= 32 and all(number(0, 1000).accepts(factor) for factor in v),
    "a list of at most 32 numbers of at least 0 and at most 1000, such as [0.1,0.01]",
)
SCALAR = Rule(
    lambda v: v is None or isinstance(v, bool) or number(-math.inf, math.inf).accepts(v),
    "a number, true, false or null",
)
BATCH_SIZE = optional(integer(1, 1_000_000))
SHARE = number(0, 1, under=True)

RULES: dict[str, Rule] = {
    "dataset.validation_size": integer(0, 10_000_000),
    "dataset.train_size": integer(0, 10_000_000),
    "dataset.validation": choice(("random", "last")),
    "dataset.validation_seed": integer(0, 2**64 - 1),
    "dataset.label_noise": SHARE,
    "model.width": integer(1, 65_536),
    "model.depth": integer(1, 32),
    "model.hidden": optional(WIDTHS),
    "model.activation": choice(ACTIVATIONS),
    "model.dropout": SHARE,
    "model.kernel_initializer": choice(INITIALIZERS),
    "model.input_dropout": SHARE,
    "model.batch_normalization": BOOLEAN,
    "model.max_norm": optional(number(0, 1000, over=True)),
    "model.kernel_stddev": optional(number(0, 1000, over=True)),
    "model.l1": number(0, 1000),
    "model.l2": number(0, 1000),
    "training.epochs": integer(1, 10_000),
    "training.batch_size": integer(1, 10_000_000),
    "training.loss": choice(LOSSES),
    "training.curve_samples": integer(0, 10_000_000),
    "training.decay": number(0, 1, over=True),
    "training.decay_epochs": integer(0, 10_000),
    "training.patience": integer(0, 10_000),
    "training.evaluate_every": integer(1, 10_000),
    "training.stop_at_loss": optional(number(0, 1000, over=True)),
    "training.label_smoothing": SHARE,
    "training.schedule": choice(SCHEDULES),
    "training.warmup_epochs": integer(0, 10_000),
    "training.boundaries": BOUNDARIES,
    "training.factors": FACTORS,
    "training.clip_norm": optional(number(0, 1000, over=True)),
    "device.kind": choice(("auto", "cpu", "gpu")),
    "device.backend": choice(("tensorflow", "jax")),
    "device.precision": choice(("float32", "float64", "tensorfloat32", "mixed_bfloat16")),
    "device.xla": BOOLEAN,
    "device.trainer": choice(("engine", "reference")),
    "device.workers": integer(0, 1024),
    "device.stack": integer(0, 65_536),
    "device.gpus": integer(0, 1024),
    "tracking.kind": choice(("sqlite", "server", "none")),
    "tracking.uri": optional(TEXT),
    "paths.data": TEXT,
    "paths.runs": TEXT,
    "paths.results": optional(TEXT),
    "seed": integer(0, 2**64 - 1),
    "question": QUESTION,
    "plan": BOOLEAN,
    "force": BOOLEAN,
    "retry": choice(("failed", "diverged", "all", "none")),
}

HYPERPARAMETERS: dict[str, Rule] = {
    "learning_rate": number(0, 1000, over=True),
    "weight_decay": optional(number(0, 1000)),
    "adam_weight_decay": optional(number(0, 1000)),
    **dict.fromkeys(("momentum", "rho", "beta_1", "beta_2", "adam_beta_1", "adam_beta_2"), SHARE),
    **dict.fromkeys(("epsilon", "epsilon_1", "epsilon_2"), number(0, 1, over=True)),
    **dict.fromkeys(("nesterov", "amsgrad", "centered", "relative_step"), BOOLEAN),
    "initial_accumulator_value": number(0, 1000),
    **dict.fromkeys(
        ("l1_regularization_strength", "l2_regularization_strength", "l2_shrinkage_regularization_strength", "beta"),
        number(0, 1000),
    ),
    "learning_rate_power": number(-10, 0),
    "beta_2_decay": number(-10, 0, under=True),
    "clip_threshold": number(0, 1000, over=True),
    "rms_rate": number(0, 1000),
    "ns_steps": integer(1, 20),
    "warmup_steps": integer(0, 10_000_000),
}


@cache
def options(group: str) -> tuple[str, ...]:
    """Names of the files of a folder of `conf/`."""
    return tuple(sorted(path.stem for path in (CONF / group).glob("*.yaml")))


@cache
def hyperparameters(optimizer: str) -> tuple[str, ...]:
    """Names that `conf/optimizer/<optimizer>.yaml` sets."""
    return tuple(name for name in content("optimizer", optimizer) if name not in ("name", "class"))


@cache
def keras_class(optimizer: str) -> str:
    """The class of `keras.optimizers` that `conf/optimizer/<optimizer>.yaml` names. Raises UserError."""
    if optimizer not in options("optimizer"):
        raise UserError(f"optimizer={optimizer}: expected one of {', '.join(options('optimizer'))}")
    name = content("optimizer", optimizer).get("class")
    if not isinstance(name, str):
        raise UserError(
            f"conf/optimizer/{optimizer}.yaml: class={shown(name)}: expected a class of keras.optimizers, such as Adam"
        )
    return name


def content(group: str, name: str) -> dict[str, Any]:
    """What `conf/<group>/<name>.yaml` says."""
    try:
        values = yaml.safe_load((CONF / group / f"{name}.yaml").read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"conf/{group}/{name}.yaml: not YAML ({' '.join(str(error).split())})") from error
    return values if isinstance(values, dict) else {}


def rule_for(key: str) -> Rule | None:
    """The rule of a dotted key, or None where there is no such key in any configuration."""
    if key.startswith("optimizer."):
        name = key.removeprefix("optimizer.")
        # An optimizer that a file adds may have values that no other has.
        other = SCALAR if any(name in hyperparameters(optimizer) for optimizer in options("optimizer")) else None
        return HYPERPARAMETERS.get(name, other)
    return RULES.get(key)


def known_keys(optimizers: Iterable[str]) -> list[str]:
    """Keys that can be set when one of `optimizers` is chosen."""
    own = dict.fromkeys(f"optimizer.{name}" for optimizer in optimizers for name in hyperparameters(optimizer))
    return [*RULES, *own]


def complaint(key: str, value: Any, rule: Rule) -> str | None:
    """One line on what is wrong with `value`, or None."""
    if rule.accepts(value):
        return None
    return f"{key}={shown(value)}: expected {rule.allowed}{nearest(shown(value), rule.names)}"


def plain(text: str) -> Any:
    """What `text` is as YAML; the text itself if it is none."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def parsed(key: str, text: str, rule: Rule) -> Any:
    """The value of a word `key=text`. Raises UserError if it is not what `rule` allows."""
    if line := complaint(key, value := plain(text), rule):
        raise UserError(line)
    return value


def shown(value: Any) -> str:
    """A value as a person types it."""
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)
