"""What a search draws from: Hydra's overrides for sweeps, as Optuna's distributions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, QuotedString, RangeSweep
from hydra.errors import HydraException
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from pipeline.config import commandline, rules
from pipeline.config.compose import ConfigurationError

FIXED = ("dataset", "dataset.validation_size", "dataset.validation", "dataset.validation_seed", "dataset.label_noise")
"""Keys that change what the validation accuracy is measured on, so trials could not be compared."""

Value = bool | int | float | str | None


@dataclass(frozen=True)
class Space:
    """The distributions of a search, and the overrides that hold for all trials."""

    distributions: dict[str, BaseDistribution]
    overrides: list[str]
    """The ranges as typed."""
    fixed: list[str]


def space_of(overrides: Sequence[str], default: dict[str, str]) -> Space:
    """The space of a command's `overrides`; if they have no range, that of `default` (ranges by key) without their keys.

    Raises ConfigurationError with everything that is wrong.
    """
    own = [text for text in overrides if (parsed := _parsed(text)) and parsed.is_sweep_override()]
    fixed = [text for text in overrides if text not in own]
    given = [text.partition("=")[0] for text in overrides]
    ranges = own or [f"{key}={text}" for key, text in default.items() if key not in given]
    if problems := commandline.check([*fixed, *map(_ends_of, ranges)], multirun=True):
        raise ConfigurationError(problems)
    found = {parsed.key_or_group: _distribution(parsed) for text in ranges if (parsed := _parsed(text))}
    problems = [problem for problem in found.values() if isinstance(problem, str)]
    problems += [f"{key}: given several times; expected one range" for key in found if given.count(key) > 1]
    if not ranges:
        problems.append(
            f"{' '.join(overrides)}: nothing to search; expected a range, such as model.width=interval(16,512)"
        )
    if problems:
        raise ConfigurationError(problems)
    distributions = {key: each for key, each in found.items() if isinstance(each, BaseDistribution)}
    return Space(distributions, ranges, fixed)


def first(distribution: BaseDistribution) -> Value:
    """The lowest value, or the first choice."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return distribution.low


def _parsed(text: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException:
        return None  # commandline.check says why


def _ends_of(text: str) -> str:
    """Return an interval as a choice of its two ends, which can be validated."""
    override = _parsed(text)
    value = override.value() if override else None
    key = text.partition("=")[0]
    if not isinstance(value, IntervalSweep) or key in rules.GROUPS:
        return text
    ends = [int(end) if end == int(end) else end for end in _ends(value)[:2]]
    return f"{key}={','.join(map(repr, ends))}"


def _distribution(override: Override) -> BaseDistribution | str:
    """Return the distribution of an override, or a message if it cannot be searched."""
    key, typed, value = override.key_or_group, override.input_line, override.value()
    if key in FIXED or key == "seed" or key.startswith("device"):
        return f"{typed}: cannot be searched, since trials would not be comparable; expected one value"
    if isinstance(value, ChoiceSweep):
        choices = [_scalar(item) for item in value.list]
        if len(set(map(repr, choices))) < len(choices):
            return f"{typed}: expected each value once"
        return CategoricalDistribution(choices)
    if not isinstance(value, IntervalSweep | RangeSweep) or key in rules.GROUPS:
        return f"{typed}: expected choice(A,B,…)" + ("" if key in rules.GROUPS else ", interval(LOW,HIGH) or range(…)")
    if other := value.tags - {"log"}:
        return f"{typed}: no such tag: {', '.join(sorted(other))}; expected log or none"
    log = "log" in value.tags
    low, high, step = _ends(value)
    try:
        if all(isinstance(end, int) for end in (low, high, step)) or _is_whole(key, low, high):
            return IntDistribution(int(low), int(high), log=log, step=int(step or 1))
        return FloatDistribution(low, high, log=log, step=step)
    except ValueError as error:
        return f"{typed}: {error}"


def _ends(value: IntervalSweep | RangeSweep) -> tuple[float, float, float | None]:
    """Return the lowest and highest value, and the step; None for a continuous interval."""
    if isinstance(value, IntervalSweep):
        assert value.start is not None
        assert value.end is not None
        return value.start, value.end, 1 if isinstance(value.start, int) and isinstance(value.end, int) else None
    start, stop, step = value.start or 0, value.stop, value.step or 1
    assert stop is not None
    count = math.ceil((stop - start) / step - 1e-6)  # as in Hydra, the stop is no part of a range
    return start, start + max(count - 1, 0) * step, step


def _is_whole(key: str, low: float, high: float) -> bool:
    """Whether the key takes integers only."""
    rule = rules.rule_for(key)
    return rule is not None and not rule.accepts(low + (high - low) / math.pi)


def _scalar(value: Any) -> Value:
    """Return a value as Optuna stores it: a list is its text on the command line."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return f"[{','.join(rules.to_text(_scalar(item)) for item in value)}]"
    return value
