"""Which configurations are compared: the factors of a comparison, and the contrasts that conf/comparison.yaml declares.

Nothing here looks at a figure: what a value is held against is declared, not chosen by the data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import pandas as pd

from pipeline.cli.formatting import layers, plural
from pipeline.config import rules
from pipeline.config.run_config import RunConfig
from pipeline.statistics.declaration import DEFAULT, DEPTH, OPTIMIZER, PREVIOUS, TRAIN_SIZE, WIDTH, Declaration
from pipeline.statistics.summary import once_per_seed, tidy, values_of
from pipeline.training.result import DIVERGED, FAILED, FINISHED, RunResult

CROSS_ENTROPY = ("categorical_crossentropy", "kl_divergence")
"""Losses in nats, of which the declared sizes are; against one-hot labels the two are equal."""

DECIDES_NUMBERS = ("data", "source", "numerics")
"""Parts of a run's identity besides its RunConfig. Runs that differ in one are no pair, though they share a seed."""

NAME, HIDDEN = "optimizer.name", "model.hidden"
ABSENT = object()


def origin(result: RunResult, *parts: str) -> str:
    """What decided the run's numbers besides its RunConfig, as a text; of all parts where none is named."""
    return json.dumps([result.identity.get(part) for part in parts or DECIDES_NUMBERS], sort_keys=True)


def with_identity(runs: pd.DataFrame, results: Sequence[RunResult]) -> pd.DataFrame:
    """`runs` with the column `identity`: what decided a run's numbers besides its RunConfig, as a text."""
    return runs.assign(identity=runs["key"].map({result.key: origin(result) for result in results}).fillna(""))


@lru_cache(maxsize=8192)
def configuration_of(job: RunConfig) -> str:
    """The id of its configuration, which is a third of a millisecond's work and asked for again and again."""
    return job.configuration


def runs_of(results: Sequence[RunResult]) -> pd.DataFrame:
    """A row per run of one comparison, each configuration and seed once."""
    return once_per_seed(with_identity(tidy({"": list(results)}), results)).reset_index(drop=True)


# --- factors


def factors(configurations: Sequence[Mapping[str, Any]]) -> list[str]:
    """Dotted names of what was varied among configurations of one data set, each as `values_of` gives it.

    The optimizer, the hidden layers and the training size come first, then all others in their order. A name whose value
    follows from the factors before it is none: a learning rate tuned for each optimizer and width, the epochs of a size.
    """
    names = dict.fromkeys([NAME, HIDDEN, TRAIN_SIZE, *(name for each in configurations for name in each)])
    cells: list[tuple[Any, ...]] = [()] * len(configurations)
    found = []
    for name in names:
        finer = [(*cell, each.get(name)) for cell, each in zip(cells, configurations, strict=True)]
        if len(set(finer)) > len(set(cells)):
            found.append(name)
            cells = finer
    return found


def following(configurations: Sequence[Mapping[str, Any]], found: Sequence[str]) -> list[str]:
    """Dotted names of what differs among configurations and is no factor: a contrast may differ in it too.

    Of an optimizer's own hyper-parameters those that differ within an optimizer.
    """
    seen: dict[tuple[str, object], set[Any]] = {}
    for own in configurations:
        for name, value in own.items():
            seen.setdefault((name, own[NAME] if _nested(name) else None), set()).add(value)
    varied = dict.fromkeys(name for (name, _), values in seen.items() if len(values) > 1)
    return [name for name in varied if name not in found]


def contrasted(found: Sequence[str]) -> list[str]:
    """The factors by the names under which they are contrasted: hidden layers are width and depth."""
    names: list[str] = []
    for name in found:
        names += {NAME: [OPTIMIZER], HIDDEN: [WIDTH, DEPTH]}.get(name, [name])
    return names


# --- configurations


def configurations(runs: pd.DataFrame, jobs: Mapping[str, RunConfig]) -> pd.DataFrame:
    """A row per configuration, by its id, in order of appearance.

    Columns: `dataset`, `optimizer`, `hidden` (as `512x256`), `width` (missing where layers differ), `depth`, `epochs`,
    `loss` (name of the training loss), a column for each other factor by its dotted name, `label` (`adam, width 512,
    dropout 0.5`: what a person calls it), `n` (finished), `diverged`, `failed`.
    `jobs`: a RunConfig of each configuration.
    """
    groups = runs.groupby("configuration", sort=False)
    table = groups[["dataset", "optimizer", "hidden", "width", "depth", "epochs"]].first()
    table["loss"] = [jobs[str(name)].training.loss for name in table.index]
    table["label"] = ""
    for _, group in table.groupby("dataset", sort=False):
        values = {str(name): values_of(jobs[str(name)]) for name in group.index}
        others = [name for name in factors(list(values.values())) if name not in (NAME, HIDDEN)]
        for name in others:
            for configuration, own in values.items():
                table.loc[configuration, name] = own.get(name)
        for configuration, own in values.items():
            table.loc[configuration, "label"] = label(own, others)
    for column, status in {"n": FINISHED, "diverged": DIVERGED, "failed": FAILED}.items():
        table[column] = runs["status"].eq(status).groupby(runs["configuration"], sort=False).sum()
    return table


def label(values: Mapping[str, Any], others: Sequence[str]) -> str:
    """`adam, width 512`, and its values of the `others` factors."""
    known = [str(values[NAME]), _layers(values)]
    return ", ".join([*known, *(setting(name, values[name]) for name in others if values.get(name) is not None)])


def _layers(values: Mapping[str, Any]) -> str:
    return layers("x".join(map(str, values[HIDDEN])) or "none")


def setting(name: str, value: Any) -> str:
    """A factor's value in words: `dropout 0.5`, `2,000 images`, `all images`."""
    if name == TRAIN_SIZE:
        return plural(value, "image") if value else "all images"
    return f"{name.rpartition('.')[2].replace('_', ' ')} {rules.shown(value)}"


# --- contrasts


@dataclass(frozen=True)
class Contrast:
    """Two configurations, by id, of which A minus B is looked at; B has the value that A's is held against."""

    factor: str
    """As in conf/comparison.yaml: `optimizer`, `model.width`, `model.dropout`."""
    dataset: str
    at: str
    """What the two share, in words: `width 512` or `adam`."""
    a: str
    b: str


@dataclass(frozen=True)
class Reference:
    """What the values of a factor are held against in one data set."""

    dataset: str
    factor: str
    declared: Any
    """`previous`, or the value; for `default` the one that conf/ has."""
    used: Any
    """The same, or the first value where the declared one was not swept."""

    @property
    def replaced(self) -> bool:
        return bool(self.declared != self.used)


@dataclass
class Design:
    contrasts: list[Contrast] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    """One for each data set and factor."""
    following: list[str] = field(default_factory=list)
    """What differs and is no factor, since it follows from the factors: learning rates tuned for each width."""
    absent: list[str] = field(default_factory=list)
    """Factors of which no two configurations agree in everything else."""


def design(table: pd.DataFrame, jobs: Mapping[str, RunConfig], declared: Declaration) -> Design:
    """The declared contrasts among `table`, as `configurations` gives it: pairs that agree in all other factors.

    An optimizer's own hyper-parameters belong to it: where they are swept, what is contrasted otherwise are optimizers at
    their defaults.
    """
    found = Design()
    for dataset, group in table.groupby("dataset", sort=False):
        values = {str(name): values_of(jobs[str(name)]) for name in group.index}
        names = factors(list(values.values()))
        found.following += following(list(values.values()), names)
        for factor in contrasted(names):
            formed = _contrasts(str(dataset), factor, names, values, declared, found)
            found.contrasts += formed
            if not formed and factor not in (WIDTH, DEPTH):
                found.absent.append(factor)
    return found


def _contrasts(
    dataset: str,
    factor: str,
    names: Sequence[str],
    values: Mapping[str, Mapping[str, Any]],
    declared: Declaration,
    found: Design,
) -> list[Contrast]:
    strata: dict[tuple[Any, ...], dict[Any, str]] = {}
    for configuration, own in values.items():
        level = _level(factor, own)
        if level is not ABSENT and _at_defaults(factor, names, own):
            strata.setdefault(_shared(factor, names, own), {})[level] = configuration
    levels = list(dict.fromkeys(level for stratum in strata.values() for level in stratum))
    if len(levels) < 2:
        return []
    reference = _reference(dataset, factor, levels, next(iter(values.values())), declared)
    found.references.append(reference)
    pairs: list[tuple[str, str]] = []
    for stratum in strata.values():
        if reference.used == PREVIOUS:
            ordered = [stratum[level] for level in sorted(stratum, key=lambda level: _place(factor, level))]
            pairs += zip(ordered[1:], ordered, strict=False)
        elif reference.used in stratum:
            pairs += [(stratum[level], stratum[reference.used]) for level in stratum if level != reference.used]
    return [Contrast(factor, dataset, _at(factor, names, values[a]), a, b) for a, b in pairs]


def _level(factor: str, own: Mapping[str, Any]) -> Any:
    """The factor's value in a configuration; ABSENT where it has none, such as the one width of unequal layers."""
    if factor in (WIDTH, DEPTH):
        hidden = own[HIDDEN]
        even = len(set(hidden)) == 1
        return (hidden[0] if factor == WIDTH else len(hidden)) if even else ABSENT
    return own[NAME] if factor == OPTIMIZER else own.get(factor, ABSENT)


def _nested(name: str) -> bool:
    """Whether a dotted name is one of an optimizer's own hyper-parameters."""
    return name.startswith("optimizer.") and name != NAME


def _at_defaults(factor: str, names: Sequence[str], own: Mapping[str, Any]) -> bool:
    """Whether the hyper-parameters that were swept have their defaults; of no account to a contrast of one of them."""
    return _nested(factor) or all(own[name] == default_of(name, own) for name in names if _nested(name) and name in own)


def _shared(factor: str, names: Sequence[str], own: Mapping[str, Any]) -> tuple[Any, ...]:
    """What two configurations of a contrast agree in."""
    other = {WIDTH: DEPTH, DEPTH: WIDTH}.get(factor)
    return tuple(own.get(name) for name in _kept(factor, names)) + ((_level(other, own),) if other else ())


def _kept(factor: str, names: Sequence[str]) -> list[str]:
    """The other factors, without hyper-parameters unless the contrast is of one."""
    own_name = {OPTIMIZER: NAME, WIDTH: HIDDEN, DEPTH: HIDDEN}.get(factor, factor)
    return [name for name in names if name != own_name and (_nested(factor) or not _nested(name))]


def _reference(
    dataset: str, factor: str, levels: Sequence[Any], first: Mapping[str, Any], declared: Declaration
) -> Reference:
    asked = declared.reference(factor)
    if asked == PREVIOUS and all(isinstance(level, int | float) for level in levels):
        return Reference(dataset, factor, PREVIOUS, PREVIOUS)
    wanted = default_of(factor, first) if asked == DEFAULT else asked
    return Reference(dataset, factor, wanted, wanted if wanted in levels else levels[0])


def default_of(name: str, own: Mapping[str, Any]) -> Any:
    """The value that conf/ has for a dotted name; of a hyper-parameter the one of the configuration's own optimizer."""
    section, _, key = name.partition(".")
    files = {"optimizer": own[NAME], "dataset": own["dataset.name"], "model": "dense", "training": "default"}
    try:
        value = rules.content(section, files[section]).get(key)
    except (OSError, KeyError):
        return None  # an optimizer or data set that conf/ no longer has
    return tuple(value) if isinstance(value, list) else value


def _place(factor: str, level: Any) -> float:
    """Where a value stands in the order of its factor; a training size of 0 is all there are."""
    return float("inf") if factor == TRAIN_SIZE and level == 0 else float(level)


def _at(factor: str, names: Sequence[str], own: Mapping[str, Any]) -> str:
    """What both configurations of a contrast share, in words."""
    words = [] if factor == OPTIMIZER else [str(own[NAME])]
    if factor == WIDTH:
        words += [plural(len(own[HIDDEN]), "layer")] if len(own[HIDDEN]) > 1 else []
    elif factor == DEPTH:
        words.append(f"width {own[HIDDEN][0]}")
    else:
        words.append(_layers(own))
    others = [name for name in _kept(factor, names) if name not in (NAME, HIDDEN) and own.get(name) is not None]
    return ", ".join([*words, *(setting(name, own[name]) for name in others)])


def problems(jobs: Mapping[str, RunConfig]) -> dict[str, tuple[str, object]]:
    """Of each configuration its optimizer, and all that it shares with others of another optimizer.

    Of optimizers whose own hyper-parameters were swept, those with their defaults.
    """
    found: dict[str, tuple[str, object]] = {}
    for dataset in dict.fromkeys(job.dataset.name for job in jobs.values()):
        values = {name: values_of(job) for name, job in jobs.items() if job.dataset.name == dataset}
        names = factors(list(values.values()))
        found |= {
            name: (str(own[NAME]), (dataset, _shared(OPTIMIZER, names, own)))
            for name, own in values.items()
            if _at_defaults(OPTIMIZER, names, own)
        }
    return found
