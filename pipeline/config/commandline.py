"""Checks the words of a `python -m pipeline.train` command before Hydra composes anything.

Hydra's own messages name neither the nearest valid name nor, for a sweep, more than the first mistake, and it
lets through values that cannot train. Everything that is wrong is said at once, a line each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, Override, QuotedString, RangeSweep
from hydra.errors import HydraException

from pipeline.cli.formatting import nearest
from pipeline.config import rules
from pipeline.config.hydra_version import VERSION_BASE

MOST_JOBS = 100_000
"""A grid over this is taken for a slip of the finger: 100,000 runs compose for an hour."""


CONFIG_DIR, CONFIG_PATH = {"--config-dir", "-cd"}, {"--config-path", "-cp"}
RERUN = "--experimental-rerun"
VALUED = {*CONFIG_DIR, *CONFIG_PATH, "--config-name", "-cn", "--package", "-p", "--cfg", "-c", RERUN}
CFG = ("job", "hydra", "all")
INFO = {"all", "config", "defaults", "defaults-tree", "plugins", "searchpath"}
"""What may stand behind `--info` (`-i`), which needs nothing."""
MULTIRUN = {"--multirun", "-m"}
MODES = {*MULTIRUN, "--run", "-r", "--cfg", "-c", "--info", "-i", "--shell-completion", "-sc"}
"""Of which there can be one."""
OPTIONS = {*MODES, *VALUED, "--help", "-h", "--hydra-help", "--version", "--resolve", "--verbose", "-v"}
LAUNCHERS = ("batched", "batched_slurm", "batched_submitit_local", "basic")
"""Those whose jobs end up in one sweep: others train each in a process that knows nothing of the others."""

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


def is_multirun(argv: Sequence[str]) -> bool:
    """Whether the command asks for a sweep."""
    return bool(MULTIRUN & {*argv}) or any(
        word.startswith("sweep=") or word.lstrip("+") == "hydra.mode=MULTIRUN" for word in argv
    )


def check(argv: Sequence[str], multirun: bool) -> list[str]:
    """Every problem of the words in `argv`, a line each."""
    options, words = options_and_words(argv)
    problems = _check_options(options)
    overrides: list[Override] = []
    parser = OverridesParser.create()
    for word in words:
        try:
            overrides.append(parser.parse_override(word))
        except HydraException as error:
            problems.append(f"{word}: expected KEY=VALUE ({str(error).splitlines()[0]})")
    optimizers = _optimizers(overrides)
    found = _Options(options, [override.input_line or "" for override in overrides])
    jobs = 1
    for override in overrides:
        if override.is_hydra_override():
            problems += _check_hydra(override)
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
            problems += _check_one(override, values, optimizers, found)
    if jobs > MOST_JOBS:
        problems.append(f"this sweep has {jobs:,} runs: expected at most {MOST_JOBS:,}; split it")
    return list(dict.fromkeys(problems))


def _check_options(options: Sequence[str]) -> list[str]:
    given = [option.partition("=")[0] for option in options if option.startswith("-")]
    if RERUN in given:
        return [
            f"{RERUN}: not supported; type the words of that run again, which .hydra/overrides.yaml beside it lists"
        ]
    problems = [
        f"{option}: no such option{nearest(option, sorted(OPTIONS))}" for option in given if option not in OPTIONS
    ]
    for option, after in pairwise([*options, ""]):
        name, equals, value = option.partition("=")
        value = value if equals else after
        if name in VALUED and not value:
            problems.append(f"{option}: expected a value after it")
        elif name in ("--cfg", "-c") and value not in CFG:
            problems.append(f"{name} {value}: expected one of {', '.join(CFG)}{nearest(value, CFG)}")
    if len(modes := [option for option in given if option in MODES]) > 1:
        problems.append(f"{' '.join(modes)}: expected one of --multirun, --cfg, --info, --shell-completion")
    return problems


def _check_hydra(override: Override) -> list[str]:
    key, value = override.key_or_group, _plain(override.value())
    if key == "hydra/launcher" and value not in LAUNCHERS:
        near = nearest(rules.shown(value), LAUNCHERS)
        return [f"{key}={rules.shown(value)}: expected one of {', '.join(LAUNCHERS)}{near}"]
    if key.startswith("hydra.sweeper.params"):
        return [
            f"{key}: is for files such as conf/sweep/smoke.yaml; here type its words as they are: -m optimizer=sgd,adam"
        ]
    if key == "hydra.job.name" and "/" in rules.shown(value):
        return [f"{key}={rules.shown(value)}: expected a name without /, as it becomes that of the log"]
    if key == "hydra.sweeper.max_batch_size" and (line := rules.complaint(key, value, rules.BATCH_SIZE)):
        return [line]
    return []


def hydra_complaint(argv: Sequence[str], error: Exception) -> str:
    """A line on what Hydra could not make of the command; empty where nothing in it is Hydra's."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; hydra.run.dir and hydra.sweep.dir name the folder of logs"
    options, words = options_and_words(argv)
    given = [word for word in words if word.lstrip("+~").startswith("hydra")]
    given += [option for option in options if option not in {*MULTIRUN, "--verbose", "-v"}]
    what = " ".join(f"{type(error).__name__} {error}".split())
    return f"{' '.join(given)}: Hydra cannot use this ({what}); expected what --hydra-help shows" if given else ""


class _Options:
    """The files that a group may be chosen from."""

    def __init__(self, options: Sequence[str], words: Sequence[str]) -> None:
        self._anywhere = bool(CONFIG_PATH & {option.partition("=")[0] for option in options})
        folders = [option.partition("=")[2] for option in options if option.partition("=")[0] in CONFIG_DIR]
        folders += [after for option, after in pairwise(options) if option in CONFIG_DIR]
        self._folders = [Path(folder).absolute().as_uri() for folder in folders if folder]
        self._search_path = [word for word in words if word.lstrip("+").startswith("hydra.searchpath=")]

    def of(self, group: str, name: object) -> tuple[str, ...]:
        """All names of `group`, where `name` is none of them; of our own ones nothing need be asked."""
        own = rules.options(group)
        if name in own:
            return own
        if self._anywhere:
            return (*own, str(name))
        return (*own, *(other for other in self._asked(group) if other not in own))

    def _asked(self, group: str) -> list[str]:
        """What Hydra finds, which knows of further places: `--config-dir`, `hydra.searchpath`, here or in a file."""
        with initialize_config_dir(str(rules.CONF), **VERSION_BASE):
            loader = GlobalHydra.instance().config_loader()
            found = loader.get_group_options(group, config_name="config", overrides=self._search_path)
            for folder in self._folders:
                more = [f"hydra.searchpath=['{folder}']"]
                found = [*found, *loader.get_group_options(group, config_name="config", overrides=more)]
        return found


def _check_one(override: Override, values: list[Any], optimizers: list[str] | None, found: _Options) -> list[str]:
    key = override.key_or_group
    if override.is_delete():
        return [f"{override.input_line}: {key} cannot be deleted; give it another value"]
    if len(values) > 1 and key in (*rules.SHARED, "tracking"):
        came = ", ".join(sorted(map(rules.shown, values)))
        return [f"{key}: cannot be swept (came: {came}); one command, one value"]
    if globs := [value for value in values if isinstance(value, Glob)]:
        if key not in rules.GROUPS:
            return [f"{override.input_line}: glob() is for files; expected one of {', '.join(rules.GROUPS)} before it"]
        files = list(found.of(key, None))
        return [
            f"{override.input_line}: matches none of {', '.join(files)}" for glob in globs if not glob.filter(files)
        ]
    if any(isinstance(value, IntervalSweep) or "${" in str(value) for value in values):
        # Known only once composed (or to a sweeper that draws from an interval): checked then.
        return []
    if key in rules.GROUPS:
        return [
            f"{key}={rules.shown(value)}: expected one of {', '.join(names)}{nearest(rules.shown(value), names)}"
            for value in values
            if not (value is None and key in ("experiment", "sweep")) and value not in (names := found.of(key, value))
        ]
    if optimizers is None and key.startswith("optimizer.") and (rule := rules.rule_for(key)):
        # Chosen in a file of the user's own, which is not read here.
        return [line for value in values if (line := rules.complaint(key, value, rule))]
    optimizers = optimizers or list(rules.options("optimizer"))
    known = [*rules.known_keys(optimizers), "dataset.name", "optimizer.name"]
    if key not in known:
        everywhere = [*rules.known_keys(rules.options("optimizer")), *rules.GROUPS]
        if key in everywhere:
            return [
                f"{key}: {', '.join(optimizers)} has no such key; it has {', '.join(k for k in known if k.startswith('optimizer.'))}"
            ]
        section, _, name = key.rpartition(".")
        meant = f"{section}.{SHORT.get(name, name)}"
        near = f" (did you mean {meant!r}?)" if meant in everywhere else nearest(key, everywhere)
        return [f"{key}: no such key{near}"]
    if key in ("dataset.name", "optimizer.name"):
        group = key.removesuffix(".name")
        return [f"{key}: set by the file; choose another with {group}=NAME ({', '.join(rules.options(group))})"]
    rule = rules.rule_for(key)
    assert rule is not None
    return [line for value in values if (line := rules.complaint(key, value, rule))]


def _optimizers(overrides: Sequence[Override]) -> list[str] | None:
    """The optimizers that are chosen; None where a file from elsewhere than `conf/` may choose one."""
    chosen = [str(v) for o in overrides if o.key_or_group == "optimizer" and not o.is_delete() for v in _values(o)]
    for override in overrides:
        if override.key_or_group in ("sweep", "experiment") and not override.is_delete():
            for value in _values(override):
                if value is not None and value not in rules.options(override.key_or_group):
                    return None
                chosen += _optimizers_of_file(override.key_or_group, str(value))
    known = [name for name in chosen if name in rules.options("optimizer")]
    return known or (None if any(chosen) else ["rmsprop"])


def _optimizers_of_file(group: str, name: str) -> list[str]:
    """Optimizers that a file of `conf/sweep/` or `conf/experiment/` chooses."""
    if name not in rules.options(group):
        return []
    values = rules.content(group, name)
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
