"""Check the overrides of a `python -m pipeline.train` command before Hydra composes anything.

Hydra does not suggest the nearest valid name, stops at the first mistake of a sweep, and accepts values that cannot train.
Here every problem is reported, a line each.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, Override, QuotedString, RangeSweep
from hydra.errors import HydraException

from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.cli.formatting import nearest
from pipeline.config import rules

MOST_JOBS = 100_000
"""A larger grid is taken for a typo: 100,000 runs compose for an hour."""

ELSEWHERE = ("--config-dir", "-cd", "--config-path", "-cp")
"""Options that name a folder of custom files."""
VALUED = {*ELSEWHERE, "--config-name", "-cn", "--package", "-p", "--cfg", "-c", "--info", "-i"}
MULTIRUN = {"--multirun", "-m"}
FLAGS = {"--run", "--shell-completion", "--help", "--hydra-help", "--version", "--resolve", "--verbose"}
OPTIONS = {*VALUED, *MULTIRUN, *FLAGS, "-r", "-sc", "-h", "-v"}
HYDRA_RULES = {
    "hydra/launcher": rules.choice(("batched", "batched_slurm")),
    "hydra/sweeper": rules.choice(("basic",)),
    "hydra.sweeper.max_batch_size": rules.Rule(lambda value: value is None, "null: all runs of a sweep train together"),
}
"""Settings of Hydra that keep all jobs of a command in one sweep."""

ALIASES = {
    "lr": "learning_rate",
    "decay": "weight_decay",
    "eps": "epsilon",
    "batch": "batch_size",
    "layers": "depth",
    "units": "width",
}
"""Common names of keys that are spelled too differently for a suggestion."""


def options_and_overrides(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return Hydra's options with their values, and the overrides; Hydra does not accept them mixed."""
    options: list[str] = []
    found: list[str] = []
    before = ""
    for argument in argv:
        (options if argument.startswith("-") or before in VALUED else found).append(argument)
        before = argument
    return options, found


def searched(options: Sequence[str]) -> list[str]:
    """Return `--config-dir` of Hydra's options as an override of `hydra.searchpath`, in a list; empty without it."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd")
    folder = parser.parse_known_args(options)[0].config_dir
    return [f"hydra.searchpath=['file://{Path(folder).absolute()}']"] if folder else []


def own_and_shared(
    argv: Sequence[str], defaults: dict[str, str], decided: Collection[str], description: str
) -> tuple[dict[str, str], list[str]]:
    """Return the values of a command that trains many runs, and the overrides of `pipeline.train` for every run.

    Raises UserError for a group or key in `decided`, which the command sets itself. See `console.read_options`.
    """
    own = [text for text in argv if text.partition("=")[0] in defaults or text.startswith("-") or "=" not in text]
    shared = [text for text in argv if text not in own]
    for override in shared:
        if re.split("[./@=]", override.lstrip("+"))[0] in decided:
            expected = f"expected {', '.join(defaults)}, or an override that holds for every run"
            raise UserError(f"{override}: set by this command; {expected}")
    return console.read_options(own, defaults, description), shared


def is_multirun(argv: Sequence[str]) -> bool:
    """Return whether the command asks for a sweep."""
    return bool(MULTIRUN & {*argv}) or any(
        override.startswith("sweep=") or override.lstrip("+") == "hydra.mode=MULTIRUN" for override in argv
    )


def check(argv: Sequence[str], multirun: bool) -> list[str]:
    """Return every problem of the options and overrides in `argv`, a line each."""
    options, texts = options_and_overrides(argv)
    given = [option.partition("=")[0] for option in options if option.startswith("-")]
    problems = [_unknown_option(option) for option in given if option not in OPTIONS]
    elsewhere = bool({*given} & {*ELSEWHERE}) or any(text.startswith("hydra.searchpath=") for text in texts)
    overrides: list[tuple[Override, Sequence[Any]]] = []
    parser = OverridesParser.create()
    for text in [*texts, *_overrides_of_sweep(texts)]:
        try:
            override = parser.parse_override(text)
            overrides.append((override, _values(override)))
        except (HydraException, ValueError) as error:
            problems.append(_unreadable(text, error))
    chosen = None if elsewhere else {group: _chosen(overrides, group) for group in ("optimizer", "model")}
    jobs = 1
    for override, values in overrides:
        if override.is_hydra_override():
            problems += filter(None, [_check_hydra(override.key_or_group, _plain(override.value()))])
            continue
        jobs *= max(len(values), 1)
        if override.is_sweep_override() and not multirun:
            problems.append(f"{override.input_line}: several values need --multirun (-m)")
        elif override.is_sweep_override() and not values:
            problems.append(f"{override.input_line}: the range is empty; expected at least one value")
        else:
            ends = values if len(values) <= MOST_JOBS else [values[0], values[-1]]
            problems += _check_one(override, ends, chosen)
    if jobs > MOST_JOBS:
        problems.append(f"this sweep has {jobs:,} runs: expected at most {MOST_JOBS:,}; split it")
    return list(dict.fromkeys(problems))


def _unknown_option(option: str) -> str:
    """Return the message for an unknown option, such as `--epochs 3` for `training.epochs=3`."""
    name = option.lstrip("-")
    meant = [name] if name in rules.GROUPS else _meant(name)
    near = f" (did you mean '{meant[0]}=VALUE'?)" if meant else nearest(option, OPTIONS)
    return f"{option}: no such option{near}"


def _unreadable(override: str, error: Exception) -> str:
    """Return the message for an override that Hydra cannot parse; Hydra's own names characters and tokens."""
    if "=" not in override:
        return f"{override}: expected KEY=VALUE"
    if override.endswith(","):
        return f"{override}: expected no space after a comma"
    if any(override.count(first) != override.count(last) for first, last in ("()", "[]", "{}")):
        return f"{override}: expected a closing bracket for each opening one"
    return f"{override}: expected KEY=VALUE ({str(error).splitlines()[0]})"


def _meant(key: str) -> list[str]:
    """Return the keys that `key` may mean: without its group, in another group, or by an alias."""
    section, _, name = key.rpartition(".")
    names = {name, ALIASES.get(name, name)}
    known = rules.known_keys()
    found = [each for each in known if each.rpartition(".")[2] in names]
    return [each for each in found if each.startswith(section)] or found


def _check_hydra(key: str, value: Any) -> str | None:
    """Return the problem of a setting that Hydra accepts, but a sweep cannot use."""
    if key.startswith("hydra.sweeper.params"):
        return f"{key}: only for files such as conf/sweep/smoke.yaml; here expected overrides, such as -m optimizer=sgd,adam"
    return rules.problem(key, value, HYDRA_RULES[key]) if key in HYDRA_RULES else None


def hydra_problem(argv: Sequence[str], error: Exception) -> str:
    """Return a line on the part of the command that Hydra cannot use; empty if no part is for Hydra."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; hydra.run.dir and hydra.sweep.dir name the folder of logs"
    options, overrides = options_and_overrides(argv)
    given = [override for override in overrides if override.lstrip("+~").startswith("hydra")]
    given += [option for option in options if option not in {*MULTIRUN, "--verbose", "-v"}]
    what = " ".join(f"{type(error).__name__} {error}".split())
    return f"{' '.join(given)}: Hydra cannot use this ({what}); expected what --hydra-help shows" if given else ""


def _check_one(override: Override, values: Sequence[Any], chosen: dict[str, list[str]] | None) -> list[str]:
    """Return the problems of one override. `chosen`: optimizers and models; None if Hydra also searches other folders."""
    key, text = override.key_or_group, override.input_line
    if override.is_delete():
        return [f"{text}: {key} cannot be deleted; give it another value"]
    if len(values) > 1 and key in (*rules.SHARED, "tracking"):
        return [rules.one_value(key, values)]
    if any(isinstance(value, IntervalSweep) or "${" in str(value) for value in values):
        # The value is known, and checked, once the configuration is composed or a sweeper draws from the interval.
        return []
    if key in rules.GROUPS:
        return [] if chosen is None else [line for value in values if (line := _check_group(key, value))]
    if any(isinstance(value, Glob) for value in values):
        return [f"{text}: glob() is for files; expected one of {', '.join(rules.GROUPS)} before it"]
    if key in rules.NAMES:
        group = key.partition(".")[0]
        return [f"{key}: set by the file; choose another with {group}=NAME ({', '.join(rules.options(group))})"]
    known = rules.known_keys()
    if key not in known and not (chosen is None and key.startswith(("optimizer.", "model."))):
        meant = _meant(key)
        near = f" (did you mean {meant[0]!r}?)" if meant else nearest(key, [*known, *rules.GROUPS])
        return [f"{key}: no such key{near}"]
    group = key.partition(".")[0]
    if chosen and (names := chosen.get(group)):
        own = dict.fromkeys(each for name in names for each in rules.own_keys(group, name))
        if key not in own:
            return [f"{key}: {', '.join(names)} has no such key; it has {', '.join(own)}"]
    rule = rules.rule_for(key)
    assert rule is not None
    return [line for value in values if (line := rules.problem(key, value, rule))]


def _check_group(group: str, value: Any) -> str | None:
    files = rules.options(group)
    if isinstance(value, Glob):
        missed = not value.filter(list(files))
        return f"{group}=glob({','.join(value.include)}): matches none of {', '.join(files)}" if missed else None
    if value is None and group in ("experiment", "sweep"):
        return None
    return rules.problem(group, value, rules.choice(files))


def _chosen(overrides: Sequence[tuple[Override, Sequence[Any]]], group: str) -> list[str]:
    """Return the chosen files of `group`, by default those of conf/config.yaml; empty if `conf/` has no such file."""
    chosen: list[str] = []
    for override, values in overrides:
        kind = override.key_or_group
        if kind == group:
            chosen += map(str, values)
        elif kind in ("sweep", "experiment"):
            files = [rules.content(kind, name) for name in values if name in rules.options(kind)]
            entries = [entry for file in files for entry in file.get("defaults", [])]
            chosen += [entry[key] for entry in entries if (key := f"override /{group}") in entry]
    if not any(chosen):
        chosen = [
            entry[group]
            for entry in rules.content(".", "config")["defaults"]
            if isinstance(entry, dict) and group in entry
        ]
    return [name for name in chosen if name in rules.options(group)]


def _overrides_of_sweep(overrides: Sequence[str]) -> list[str]:
    """Return the overrides that `sweep=NAME` stands for, without keys that another override sets."""
    given = {override.partition("=")[0].lstrip("+") for override in overrides}
    names = [override.partition("=")[2] for override in overrides if override.startswith("sweep=")]
    found = [each for name in names if name in rules.options("sweep") for each in rules.sweep_words(name)]
    return [override for override in found if override.partition("=")[0] not in given]


def _values(override: Override) -> Sequence[Any]:
    """Return the values of an override as Python values. Raises ValueError for a range whose step is 0."""
    value = override.value()
    if isinstance(value, RangeSweep):
        values = value.range()
        return values if isinstance(values, range) else list(islice(values, MOST_JOBS + 1))
    return [_plain(item) for item in (value.list if isinstance(value, ChoiceSweep) else [value])]


def _plain(value: Any) -> Any:
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, dict):
        return {_plain(name): _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
