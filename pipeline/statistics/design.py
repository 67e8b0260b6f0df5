"""Which configurations are compared: the factors of a comparison, and the contrasts that conf/comparison.yaml declares.

Nothing here looks at a metric: what a value is held against is declared, not chosen by the data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from pipeline.cli.formatting import layers, plural
from pipeline.config import rules
from pipeline.config.run_config import RunConfig
from pipeline.statistics.declaration import (
    DEFAULT,
    DEPTH,
    NETWORK,
    OPTIMIZER,
    PREVIOUS,
    TRAIN_SIZE,
    WIDTH,
    Declaration,
)
from pipeline.statistics.summary import CODE, once_per_seed, summarise, tidy, values_of
from pipeline.training.result import RunResult

NAME, HIDDEN, SCHEDULE = "optimizer.name", "model.hidden", "training.schedule"
CONTRASTED = {NAME: (OPTIMIZER,), HIDDEN: (WIDTH, DEPTH)}
"""Factors with other names in contrasts."""

LABELS = ["label", "network", "settings", "loss"]
"""Columns of `labels`."""
ABSENT = object()
SHAPE = "shape"
"""The network of a configuration, as text."""

Values = Mapping[str, Any]
"""The values of a configuration by dotted name; optimizer, width and depth under their names in contrasts."""


def runs_of(results: Sequence[RunResult]) -> pd.DataFrame:
    """Return a row per run of one comparison, each configuration and seed once."""
    return once_per_seed(tidy({"": list(results)})).reset_index(drop=True)


def factors(configurations: Sequence[Values]) -> list[str]:
    """Dotted names of what was varied among configurations of one data set, each as `values_of` gives it.

    The optimizer, the network, its hidden layers, the training size and the schedule come first, then all others in their order.
    A name whose value follows from the factors before it is none: a learning rate tuned for each optimizer and width, the
    epochs of a size, the arguments that only one network has.
    """
    first = [NAME, NETWORK, HIDDEN, TRAIN_SIZE, SCHEDULE]
    names = dict.fromkeys([*first, *(name for each in configurations for name in each)])
    cells: list[tuple[Any, ...]] = [()] * len(configurations)
    found = []
    for name in names:
        finer = [(*cell, each.get(name)) for cell, each in zip(cells, configurations, strict=True)]
        if len(set(finer)) > len(set(cells)):
            found.append(name)
            cells = finer
    return found


def configurations(runs: pd.DataFrame, jobs: Mapping[str, RunConfig]) -> pd.DataFrame:
    """A row per configuration of one data set, by its id in the order of `jobs`: `summary.summarise` and `labels`.

    `jobs`: a RunConfig of each configuration.
    """
    return labels(jobs).join(summarise(runs).set_index("configuration"))


def labels(jobs: Mapping[str, RunConfig]) -> pd.DataFrame:
    """What a person calls each configuration of one data set: a row by its id.

    `label`: `adam, width 512, dropout 0.5`; `network`: `width 512`, or `dense, width 512` beside other networks;
    `settings`: the other factors in words, by dotted name, and `depth` if it is one; `loss`: name of the training loss.
    """
    values = {name: values_of(job) for name, job in jobs.items()}
    names = [name for name in factors(list(values.values())) if name not in CONTRASTED]
    shapes = {(own[NETWORK], jobs[name].depth) for name, own in values.items()}
    deep = len(shapes) > len({network for network, _ in shapes})
    rows = []
    for configuration, own in values.items():
        job = jobs[configuration]
        dense = ["dense"] if NETWORK in names and own[NETWORK] == "dense" else []
        network = ", ".join([*dense, layers(job.shape)])
        others = {name: setting(name, own[name]) for name in names if name in own}
        label = ", ".join([own[NAME], network, *(text for name, text in others.items() if name != NETWORK)])
        depth = {"depth": plural(job.depth, "layer")} if deep and job.depth else {}
        rows.append((label, re.sub(r"(?<=\d), \d+ layers$", "", network), depth | others, job.training.loss))
    return pd.DataFrame(rows, index=list(jobs), columns=LABELS)


def setting(name: str, value: Any) -> str:
    """Return a factor's value as text: `dropout 0.5`, `filters 16, 32`, `2,000 samples`, `all samples`, a network's name."""
    if name == TRAIN_SIZE:
        return plural(value, "sample") if value else "all samples"
    if name == NETWORK:
        return str(value)
    shown = text_of(value)
    if isinstance(value, float) and len(shown) > 8:
        shown = f"{value:g}"
    return f"{name.rpartition('.')[2].replace('_', ' ')} {shown}"


def text_of(value: Any) -> str:
    """Return a value as text: `0.5`, `16, 32`, `none` for no layers, `null`."""
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else rules.to_text(value)


@dataclass(frozen=True)
class Contrast:
    """Two configurations, by id. The contrast is A minus B; B has the reference value."""

    factor: str
    """The factor as in conf/comparison.yaml: `optimizer`, `model.width`, `model.dropout`."""
    at: str
    """What the two share: `width 512` or `adam`."""
    a: str
    b: str


@dataclass(frozen=True)
class Reference:
    """The reference of a factor."""

    factor: str
    declared: Any
    """`previous`, or the declared value; for `default` the value in conf/."""
    used: Any
    """The reference in use: the first value if the declared one was not swept."""

    @property
    def replaced(self) -> bool:
        return bool(self.declared != self.used)


@dataclass
class Design:
    contrasts: list[Contrast] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    """One reference per factor; several of an optimizer's or network's own value, whose default is its own."""
    absent: list[str] = field(default_factory=list)
    """Factors of which no two configurations agree in everything else."""


def design(jobs: Mapping[str, RunConfig], declared: Declaration) -> Design:
    """The declared contrasts among configurations of one data set, `jobs` by id: of pairs that agree in all other factors.

    An optimizer's own hyper-parameters belong to it: where they are swept, what is contrasted otherwise are optimizers at
    their defaults.
    """
    found = Design()
    plain = {name: values_of(job) for name, job in jobs.items()}
    names = factors(list(plain.values()))
    values = {
        name: {
            OPTIMIZER: job.optimizer.name,
            WIDTH: job.width or ABSENT,
            DEPTH: job.depth,
            SHAPE: layers(job.shape),
            **plain[name],
        }
        for name, job in jobs.items()
    }
    for factor in (own for name in names for own in CONTRASTED.get(name, (name,))):
        formed, references = (_networks if factor == NETWORK else _contrasts)(factor, names, values, declared)
        found.contrasts += formed
        found.references += references
        if not formed and factor not in CONTRASTED[HIDDEN]:
            found.absent.append(factor)
    return found


def _contrasts(
    factor: str, names: Sequence[str], values: Mapping[str, Values], declared: Declaration
) -> tuple[list[Contrast], list[Reference]]:
    kept = _kept(factor, names)
    strata: dict[tuple[Any, ...], dict[Any, str]] = {}
    for configuration, own in values.items():
        uneven = factor in CONTRASTED[HIDDEN] and own[WIDTH] is ABSENT
        if factor in own and not uneven and _at_defaults(factor, names, own):
            stratum = strata.setdefault(tuple(own.get(name) for name in kept), {})
            stratum[own[factor]] = configuration
    levels = list(dict.fromkeys(level for stratum in strata.values() for level in stratum))
    if len(levels) < 2:
        return [], []
    reference = _reference(factor, levels, next(iter(values.values())), declared)
    owned = factor.startswith(("optimizer.", "model."))  # so each optimizer and network has a default of its own
    references = [] if owned else [reference]
    pairs: list[tuple[str, str]] = []
    for stratum in strata.values():
        if owned and len(stratum) > 1:
            reference = _reference(factor, [*stratum], values[next(iter(stratum.values()))], declared)
            references += [reference] if reference not in references else []
        if reference.used == PREVIOUS:
            ordered = [stratum[level] for level in sorted(stratum, key=lambda level: _place(factor, level))]
            pairs += zip(ordered[1:], ordered, strict=False)
        elif reference.used in stratum:
            pairs += [(stratum[level], stratum[reference.used]) for level in stratum if level != reference.used]
    return [Contrast(factor, _at(factor, kept, values[a]), a, b) for a, b in pairs], references


def _networks(
    factor: str, names: Sequence[str], values: Mapping[str, Values], declared: Declaration
) -> tuple[list[Contrast], list[Reference]]:
    """Compare each network with the declared one where all shared arguments agree and the others are at their default."""
    kept = _kept(factor, names)
    own_only = [name for name in kept if name.startswith("model.")]
    usable = {configuration: own for configuration, own in values.items() if _at_defaults(factor, names, own)}

    def at_home(name: str, own: Values) -> bool:
        """Whether an argument has its default, or the first swept value if the default was not swept."""
        swept = [other[name] for other in usable.values() if other[factor] == own[factor]]
        default = default_of(name, own)
        return bool(own[name] == (default if default in swept else swept[0]))

    def alike(a: Values, b: Values) -> bool:
        return all(
            at_home(name, a if name in a else b)
            if name in own_only and (name in a) != (name in b)
            else a.get(name) == b.get(name)
            for name in kept
        )

    levels = list(dict.fromkeys(own[factor] for own in usable.values()))
    if len(levels) < 2:
        return [], []
    reference = _reference(factor, levels, next(iter(usable.values())), declared)
    pairs = [
        (a, b)
        for a, own in usable.items()
        for b, other in usable.items()
        if own[factor] != reference.used == other[factor] and alike(own, other)
    ]
    found = []
    for a, b in pairs:
        shared = {name: value for name, value in values[a].items() if values[b].get(name, ABSENT) == value}
        found.append(Contrast(factor, _at(factor, kept, shared), a, b))
    return found, [reference]


def _nested(name: str) -> bool:
    """Whether a dotted name is a hyper-parameter of an optimizer."""
    return name.startswith("optimizer.") and name != NAME


def _at_defaults(factor: str, names: Sequence[str], own: Values) -> bool:
    """Whether the swept hyper-parameters have their defaults; irrelevant to a contrast of one of them."""
    return _nested(factor) or all(own[name] == default_of(name, own) for name in names if _nested(name) and name in own)


def _kept(factor: str, names: Sequence[str]) -> list[str]:
    """Return what two configurations of a contrast agree in: the other factors; hyper-parameters only for one of them."""
    others = [name for name in names if factor not in CONTRASTED.get(name, (name,))]
    other_side = {WIDTH: [DEPTH], DEPTH: [WIDTH]}.get(factor, [])
    return [name for name in others if _nested(factor) or not _nested(name)] + other_side


def _reference(factor: str, levels: Sequence[Any], first: Values, declared: Declaration) -> Reference:
    if factor == CODE:
        return Reference(factor, levels[0], levels[0])
    asked = declared.reference(factor)
    if asked == PREVIOUS and all(isinstance(level, int | float) for level in levels):
        return Reference(factor, PREVIOUS, PREVIOUS)
    wanted = default_of(factor, first) if asked == DEFAULT else asked
    return Reference(factor, wanted, wanted if wanted in levels else levels[0])


def default_of(name: str, own: Values) -> Any:
    """Return the value in conf/ of a dotted name; for a hyper-parameter, that of the configuration's optimizer."""
    section, _, key = name.partition(".")
    files = {"optimizer": own[NAME], "dataset": own["dataset.name"], "model": own[NETWORK], "training": "default"}
    try:
        values = rules.content(".", "config").get(section, {}) | rules.content(section, files[section])
    except (OSError, KeyError):
        return None  # an optimizer or data set that conf/ no longer has
    if name == HIDDEN and not values.get("hidden") and "width" in values:
        return (values["width"],) * values.get("depth", 1)
    value = "dense" if name == NETWORK else values.get(key)
    return tuple(value) if isinstance(value, list) else value


def _place(factor: str, level: Any) -> float:
    """Return the position of a value in the order of its factor; a training size of 0 is all samples."""
    return float("inf") if factor == TRAIN_SIZE and level == 0 else float(level)


def _at(factor: str, kept: Sequence[str], own: Values) -> str:
    """Return what both configurations of a contrast share, as text."""
    parts = [] if factor == OPTIMIZER else [str(own[NAME])]
    if factor in (WIDTH, DEPTH) and (NETWORK in kept or own[NETWORK] != "dense"):
        parts.append(own[NETWORK])
    if factor == WIDTH:
        parts += [plural(own[DEPTH], "layer")] if own[DEPTH] > 1 else []
    elif factor == DEPTH:
        parts.append(f"width {own[WIDTH]}")
    elif factor == NETWORK:
        parts += [layers("x".join(map(str, own[HIDDEN])))] if HIDDEN in own else []
    else:
        parts += ["dense"] if NETWORK in kept and own[NETWORK] == "dense" else []
        parts.append(own[SHAPE])
    others = [name for name in kept if name not in (*CONTRASTED, NETWORK, WIDTH, DEPTH)]
    return ", ".join([*parts, *(setting(name, own[name]) for name in others if name in own)])
