"""What each value may be, and how messages and help describe it; both follow from its declaration."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args, get_type_hints

import yaml
from annotated_types import Ge, Gt, Le

from pipeline.cli.errors import UserError
from pipeline.cli.formatting import nearest
from pipeline.config import settings
from pipeline.config.values import Argument, Choice, Count, Scalar, Words

CONF = Path(__file__).resolve().parent.parent.parent / "conf"
GROUPS = ("dataset", "model", "optimizer", "training", "device", "tracking", "local", "experiment", "sweep")
NAMES = ("dataset.name", "optimizer.name", "optimizer.class", "model.name", "model.build")
"""Keys that only the file of a group sets."""
NAME = re.compile(r"\w[\w-]{0,63}")
"""Values of NAMES, and keys: they become parts of commands and paths."""
PATH = re.compile(rf"{NAME.pattern}(\.{NAME.pattern})*")
"""Names or import paths of classes and functions."""


@dataclass(frozen=True)
class Rule:
    """What a value of YAML may be: `accepts(value)`, and `allowed` in messages."""

    accepts: Callable[[Any], bool]
    allowed: str
    names: tuple[str, ...] = ()
    typed: Callable[[Any], Any] = lambda value: value
    """Return the value in the declared type: a list as a tuple, 1 as 1.0 if decimals are allowed."""


def rule(declared: Any) -> Rule:
    """Return the rule of a declaration such as `Annotated[int, Ge(1)] | None`. Values are not parsed or rounded."""
    allowed, names = _words(declared)

    @cache
    def adapter() -> Any:
        from pydantic import TypeAdapter  # takes 0.1 s

        return TypeAdapter(declared)

    def typed(value: Any) -> Any:
        return adapter().validate_python(tuple(value) if isinstance(value, list) else value, strict=True)

    def accepts(value: Any) -> bool:
        try:
            typed(value)
        except ValueError:
            return False
        return True

    return Rule(accepts, allowed, names, typed)


def _words(declared: Any) -> tuple[str, tuple[str, ...]]:
    """Return what is expected, and the names to suggest for a misspelled one."""
    if NoneType in get_args(declared):
        [other] = [part for part in get_args(declared) if part is not NoneType]
        allowed, names = _words(other)
        return f"{allowed}, or null", names
    kind, *about = get_args(declared) or (declared,)
    for part in reversed(about):
        if isinstance(part, Words | Choice):
            return part.text, part.names
    if kind is bool:
        return "true or false", ()
    bounds = {field.name: getattr(part, field.name) for part in about for field in fields(part)}
    if kind is int:
        return f"a whole number from {bounds['ge']:,} to {bounds['le']:,}", ()
    least = f"over {bounds['gt']:g}" if "gt" in bounds else f"of at least {bounds['ge']:g}"
    most = f"under {bounds['lt']:g}" if "lt" in bounds else f"at most {bounds['le']:g}"
    return f"a number {least} and {most}", ()


def integer(low: int, high: int) -> Rule:
    return rule(Annotated[int, Ge(low), Le(high)])


def number(low: float, high: float, *, over: bool = False) -> Rule:
    return rule(Annotated[float, (Gt if over else Ge)(low), Le(high)])


def choice(names: Iterable[str]) -> Rule:
    return rule(Annotated[str, Choice(tuple(names))])


def _rules() -> dict[str, Rule]:
    found: dict[str, Rule] = {}
    for section, kind in settings.SECTIONS.items():
        hints = get_type_hints(kind, include_extras=True)
        keys = {field.name: f"{section}.{field.name}" if section else field.name for field in fields(kind)}
        found |= {key: rule(hints[name]) for name, key in keys.items() if key not in NAMES}
    return found


RULES = _rules()
HYPERPARAMETERS = {name: rule(declared) for name, declared in settings.HYPERPARAMETERS.items()}
STEPS, SCALAR, ARGUMENT = rule(Count), rule(Scalar), rule(Argument)
"""Rules of hyper-parameters and model arguments that are not declared."""
SHARED = tuple(key for key in RULES if key.startswith(("paths.", "tracking.")) or ("." not in key and key != "seed"))
"""Keys that have one value per command: where results go, and what the command does."""


@cache
def options(group: str) -> tuple[str, ...]:
    """Return the names of the files in a folder of `conf/`."""
    return tuple(sorted(path.stem for path in (CONF / group).glob("*.yaml")))


@cache
def own_keys(group: str, name: str) -> tuple[str, ...]:
    """Return the keys of `conf/<group>/<name>.yaml` except NAMES: the arguments of an optimizer or a model."""
    keys = (f"{group}.{key}" for key in content(group, name))
    return tuple(key for key in keys if key not in NAMES)


@cache
def keras_class(optimizer: str) -> str:
    """Return the class that `conf/optimizer/<optimizer>.yaml` names. Raises UserError."""
    name = content("optimizer", parsed("optimizer", optimizer, choice(options("optimizer")))).get("class")
    if not isinstance(name, str):
        raise UserError(
            f"conf/optimizer/{optimizer}.yaml: class={to_text(name)}: expected a class of keras.optimizers, such as Adam"
        )
    return name


def content(group: str, name: str) -> dict[str, Any]:
    """Return the values of `conf/<group>/<name>.yaml`. Raises UserError if it is not YAML."""
    try:
        values = yaml.safe_load((CONF / group / f"{name}.yaml").read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"conf/{group}/{name}.yaml: not YAML ({' '.join(str(error).split())})") from error
    return values if isinstance(values, dict) else {}


def param(name: str) -> Any:
    """Resolve `${params:NAME}`: a value of params.yaml, a list as Hydra's choices with commas. Raises UserError."""
    value: Any = content("..", "params")
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None or isinstance(value, dict) or value == []:
        raise UserError(f"params.yaml: {name}={to_text(value)}: expected a value or a list of values")
    return ",".join(map(to_text, value)) if isinstance(value, list) else value


def sweep_words(name: str) -> list[str]:
    """Return the overrides that `conf/sweep/<name>.yaml` stands for. Raises UserError."""
    params = content("sweep", name).get("hydra", {}).get("sweeper", {}).get("params", {})
    return [
        f"{key}={re.sub(r'[$]{params:([^}]+)}', lambda match: to_text(param(match[1])), str(value))}"
        for key, value in params.items()
    ]


@cache
def tuned_rates() -> dict[str, dict[int, float]]:
    """Return the learning rates of conf/tuned.yaml, by optimizer and by width of the one hidden layer."""
    return dict(content(".", "tuned")["rates"])


def tuned_rate(optimizer: str, width: int) -> float:
    """Resolve `${tuned:OPTIMIZER,WIDTH}`. Raises UserError if the optimizer has not been tuned at this width."""
    known = tuned_rates().get(optimizer, {})
    if width not in known:
        tuned = "; ".join(f"{name}: {', '.join(map(str, widths))}" for name, widths in tuned_rates().items())
        raise UserError(f"conf/tuned.yaml: no rate for {optimizer} at width {width}; it has {tuned}")
    return float(known[width])


def rule_for(key: str) -> Rule | None:
    """Return the rule of a dotted key, or None if no configuration has it."""
    section, _, name = key.rpartition(".")
    if key in NAMES:
        return None
    if section == "model":
        return RULES.get(key, ARGUMENT)
    if section != "optimizer":
        return RULES.get(key)
    # A custom optimizer may have values that no other one has.
    return HYPERPARAMETERS.get(name, STEPS if name.endswith("_steps") else SCALAR)


def known_keys() -> list[str]:
    """Return the keys that can be set with some optimizer and model of `conf/`."""
    groups = ("optimizer", "model")
    own = dict.fromkeys(key for group in groups for name in options(group) for key in own_keys(group, name))
    return [*(key for key in RULES if not key.startswith("model.")), *own]


def problem(key: str, value: Any, rule: Rule) -> str | None:
    """Return one line on what is wrong with `value`, or None."""
    if rule.accepts(value):
        return None
    return f"{key}={to_text(value)}: expected {rule.allowed}{nearest(to_text(value), rule.names)}"


def problems(values: Mapping[str, Any], known: Mapping[str, Rule], needed: Iterable[str]) -> list[str]:
    """Return a line for each unknown key, each value that its rule does not allow, and each missing key."""
    found: list[str] = []
    for key, value in values.items():
        if rule := known.get(key):
            found += filter(None, [problem(key, value, rule)])
        else:
            found.append(f"{key}: no such key{nearest(key, known)}")
    return found + [f"{key}: missing" for key in needed if key not in values]


def name_problems(flat: Mapping[str, Any]) -> list[str]:
    """Return a line for each value of NAMES that is no name, and for each other key that does not end with one."""
    found = []
    for key, value in flat.items():
        given, name = (f"{key}={to_text(value)}", value) if key in NAMES else (key, key.rpartition(".")[2])
        form, dots = (PATH, ", or several joined by dots") if key in ("optimizer.class", "model.build") else (NAME, "")
        if not (isinstance(name, str) and form.fullmatch(name)):
            found.append(f"{given}: expected a name of at most 64 letters, digits, _ and -{dots}")
    return found


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values by dotted key; `tags` are one value."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value and f"{prefix}{key}" != "tags":
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def one_value(key: str, values: Iterable[Any]) -> str:
    """Return the line about several values of a key in SHARED."""
    return f"{key}: cannot be swept; expected one value per command, got {', '.join(sorted(map(to_text, values)))}"


def plain(text: str) -> Any:
    """Return the value of `text` as YAML; the text itself if it is not YAML."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def parsed(key: str, text: str, rule: Rule) -> Any:
    """Return the value of an argument `key=text`. Raises UserError if `rule` does not allow it."""
    if line := problem(key, value := plain(text), rule):
        raise UserError(line)
    return value


def to_text(value: Any) -> str:
    """Return a value as a user types it."""
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)
