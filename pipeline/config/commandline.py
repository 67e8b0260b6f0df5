"""Checks the words of a `python -m pipeline.train` command before Hydra composes anything.

Hydra's own messages name neither the nearest valid name nor, for a sweep, more than the first mistake, and it
lets through values that cannot train. Everything that is wrong is said at once, a line each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, Override, QuotedString, RangeSweep
from hydra.errors import HydraException

from pipeline.config import rules

MOST_JOBS = 100_000
"""A grid over this is taken for a slip of the finger: 100,000 runs compose for an hour."""


VALUED = {"--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd", "--package", "-p", "--cfg", "-c"}
INFO = {"all", "config", "defaults", "defaults-tree", "plugins", "searchpath"}
"""What may stand behind `--info` (`-i`), which needs nothing."""

SHORT = {"lr": "learning_rate", "decay": "weight_decay", "eps": "epsilon", "batch": "batch_size", "layers": "depth"}
"""What people call keys elsewhere, too far from ours for a spelling to be near."""


def options_and_words(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Hydra's options with their values, and the overrides; Hydra itself wants the ones before or behind the others."""
    options: list[str] = []
    found: list[str] = []
    before = ""
    for word in argv:
        if before in VALUED or (before in ("--info", "-i") and word in INFO):
            options.append(word)
            before = ""
            continue
        (options if word.startswith("-") else found).append(word)
        before = word
    return options, found


def words_of(argv: Sequence[str]) -> list[str]:
    """The overrides among the arguments: what is neither an option nor an option's value."""
    return options_and_words(argv)[1]


def check(argv: Sequence[str], multirun: bool) -> list[str]:
    """Every problem of the words in `argv`, a line each."""
    problems: list[str] = []
    overrides: list[Override] = []
    parser = OverridesParser.create()
    for word in words_of(argv):
        try:
            overrides.append(parser.parse_override(word))
        except HydraException as error:
            problems.append(f"{word}: expected KEY=VALUE ({str(error).splitlines()[0]})")
    optimizers = _optimizers(overrides)
    jobs = 1
    for override in overrides:
        if override.is_hydra_override():
            continue
        values = _values(override)
        jobs *= max(_count(override), 1)
        if override.is_sweep_override() and not multirun:
            problems.append(f"{override.input_line}: several values need --multirun (-m)")
        elif isinstance(value := override.value(), RangeSweep) and value.step == 0:
            problems.append(f"{override.input_line}: a step of 0 never ends")
        elif override.is_sweep_override() and not values:
            problems.append(f"{override.input_line}: an empty range, so there is nothing to run")
        else:
            problems += _check_one(override, values, optimizers)
    if jobs > MOST_JOBS:
        problems.append(f"this sweep has {jobs:,} runs: expected at most {MOST_JOBS:,}; split it")
    return list(dict.fromkeys(problems))


def _check_one(override: Override, values: list[Any], optimizers: list[str]) -> list[str]:
    key = override.key_or_group
    if key.startswith(("hydra/", "hydra.")):
        return []
    if override.is_delete():
        return [f"{override.input_line}: {key} cannot be deleted; give it another value"]
    if any(isinstance(value, Glob | IntervalSweep) or "${" in str(value) for value in values):
        # Known only once composed (or to a sweeper that draws from an interval): checked then.
        return []
    if key in rules.GROUPS:
        names = rules.options(key)
        return [
            f"{key}={rules.shown(value)}: expected one of {', '.join(names)}{rules.nearest(rules.shown(value), names)}"
            for value in values
            if value not in names and not (value is None and key in ("experiment", "sweep"))
        ]
    known = [*rules.known_keys(optimizers), "dataset.name", "optimizer.name"]
    if key not in known:
        everywhere = [*rules.known_keys(rules.options("optimizer")), *rules.GROUPS]
        if key in everywhere:
            return [
                f"{key}: {', '.join(optimizers)} has no such key; it has {', '.join(k for k in known if k.startswith('optimizer.'))}"
            ]
        section, _, name = key.rpartition(".")
        meant = f"{section}.{SHORT.get(name, name)}"
        near = f" (did you mean {meant!r}?)" if meant in everywhere else rules.nearest(key, everywhere)
        return [f"{key}: no such key{near}"]
    if key in ("dataset.name", "optimizer.name"):
        group = key.removesuffix(".name")
        return [f"{key}: set by the file; choose another with {group}=NAME ({', '.join(rules.options(group))})"]
    rule = rules.rule_for(key)
    assert rule is not None
    return [line for value in values if (line := rules.complaint(key, value, rule))]


def _optimizers(overrides: Sequence[Override]) -> list[str]:
    chosen = [str(v) for o in overrides if o.key_or_group == "optimizer" and not o.is_delete() for v in _values(o)]
    for override in overrides:
        if override.key_or_group in ("sweep", "experiment") and not override.is_delete():
            for value in _values(override):
                chosen += _optimizers_of_file(override.key_or_group, str(value))
    known = [name for name in chosen if name in rules.options("optimizer")]
    return known or ["rmsprop"]


def _optimizers_of_file(group: str, name: str) -> list[str]:
    """Optimizers that a file of `conf/sweep/` or `conf/experiment/` chooses."""
    if name not in rules.options(group):
        return []
    values = yaml.safe_load((rules.CONF / group / f"{name}.yaml").read_text(encoding="utf-8")) or {}
    swept = values.get("hydra", {}).get("sweeper", {}).get("params", {}).get("optimizer", "")
    default = [entry.get("override /optimizer") for entry in values.get("defaults", []) if isinstance(entry, dict)]
    return [*str(swept).split(","), *(str(entry) for entry in default if entry)]


def _values(override: Override) -> list[Any]:
    """The values that an override stands for, as Python values."""
    value = override.value()
    if isinstance(value, RangeSweep):
        return _range(value)
    if isinstance(value, ChoiceSweep):
        return [_plain(item) for item in value.list]
    return [_plain(value)]


def _count(override: Override) -> int:
    """How many values an override stands for, those of a range over MOST_JOBS too."""
    value = override.value()
    return _length(value) if isinstance(value, RangeSweep) else len(_values(override))


def _length(sweep: RangeSweep) -> int:
    start, stop, step = sweep.start or 0, sweep.stop, 1 if sweep.step is None else sweep.step
    return 0 if stop is None or step == 0 else max(0, math.ceil((stop - start) / step - 1e-6))


def _range(sweep: RangeSweep) -> list[Any]:
    """Its values; of one that is longer than any sweep, the two ends."""
    start, step = sweep.start or 0, 1 if sweep.step is None else sweep.step
    count = _length(sweep)
    if count > MOST_JOBS:
        return [start, start + (count - 1) * step]
    return [start + index * step for index in range(count)]


def _plain(value: Any) -> Any:
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
