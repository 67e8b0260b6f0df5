"""Budget, sampler, pruner and objectives of a search: conf/search.yaml, with the overrides of the command line."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, get_type_hints

from annotated_types import Ge, Le, Predicate

from pipeline.config import rules
from pipeline.config.compose import ConfigurationError
from pipeline.config.values import Choice, Seed, Text, Words

INFINITE = float("inf")


@dataclass(frozen=True)
class Objective:
    """A metric that a search may optimize; none is of test samples."""

    name: str
    maximize: bool
    diverged: float
    """The value of a run that diverged."""
    curve: str = ""
    """The same metric at each point of the curve, for a pruner."""


OBJECTIVES = {
    each.name: each
    for each in (
        Objective("val/accuracy", True, 0.0, "val/accuracy"),
        Objective("val/loss", False, INFINITE, "val/loss"),
        Objective("best/val_accuracy", True, 0.0, "val/accuracy"),
        Objective("overfitting_gap/accuracy", False, 1.0, "gap/accuracy"),
        Objective("overfitting_gap/loss", False, INFINITE, "gap/loss"),
        Objective("excess/loss", False, INFINITE),
        Objective("val/brier_score", False, INFINITE),
        Objective("time/train_s", False, INFINITE),
    )
}

PRUNERS = ("none", "median", "hyperband")
SAMPLERS = ("tpe", "random", "qmc", "gp")

FolderName = Annotated[
    str,
    Predicate(lambda text: 0 < len(text) <= 100 and text.replace("-", "").replace("_", "").isalnum()),
    Words("a name of letters, digits, - and _: that of a folder"),
]


@dataclass(frozen=True)
class SearchSettings:
    n_trials: Annotated[int, Ge(1), Le(100_000)]
    minutes: Annotated[float, Ge(0), Le(100_000)]
    sampler: Annotated[str, Choice(SAMPLERS)]
    pruner: Annotated[str, Choice(PRUNERS)]
    batch: Annotated[int, Ge(0), Le(65_536)]
    seed: Seed
    out: Text
    name: FolderName | None
    objectives: tuple[Objective, ...]

    @classmethod
    def of(cls, texts: Mapping[str, str]) -> SearchSettings:
        """Read the settings. Raises ConfigurationError with all problems."""
        hints = get_type_hints(cls, include_extras=True)
        plain = [field.name for field in fields(cls) if field.name != "objectives"]
        values: dict[str, Any] = {name: rules.plain(texts[name]) for name in plain}
        problems = [rules.problem(name, value, rules.rule(hints[name])) for name, value in values.items()]
        names = texts["objectives"].split(",")
        problems += map(_complaint, names)
        objectives = tuple(map(objective, names))
        if len({*names}) < len(names):
            problems.append(f"objectives={texts['objectives']}: expected each once")
        if values["sampler"] == "gp" and not importlib.util.find_spec("torch"):
            without = ", ".join(name for name in SAMPLERS if name != "gp")
            problems.append(f"sampler=gp: needs torch, which is not installed; install it, or take one of {without}")
        if values["pruner"] != "none":
            problems.append(_not_pruned(values["pruner"], objectives))
        if found := list(filter(None, problems)):
            raise ConfigurationError(found)
        return cls(objectives=objectives, **values)


def objective(name: str) -> Objective:
    """Return the objective of that name; custom metrics are maximized."""
    return OBJECTIVES.get(name) or Objective(name, True, -INFINITE)


def _complaint(name: str) -> str | None:
    if name in OBJECTIVES or (name.startswith("val/") and name.removeprefix("val/").isidentifier()):
        return None
    if name.startswith(("test/", "book_gap/", "split_offset/")):
        return f"objectives={name}: is of the test split, on which nothing may be chosen; expected one such as val/accuracy"
    return rules.problem("objectives", name, rules.choice([*OBJECTIVES]))


def _not_pruned(pruner: str, objectives: tuple[Objective, ...]) -> str | None:
    if len(objectives) > 1:
        return f"pruner={pruner}: needs one objective, got {len(objectives)}; Optuna cannot prune by several"
    if not objectives[0].curve:
        with_curve = ", ".join(name for name, each in OBJECTIVES.items() if each.curve)
        return f"pruner={pruner}: {objectives[0].name} is known only at the end of a run; expected one of {with_curve}"
    return None


def declared() -> tuple[dict[str, str], dict[str, str]]:
    """Return the values of conf/search.yaml as overrides, and its search space, by key."""
    values = rules.content(".", "search")
    return {key: rules.to_text(value) for key, value in values.items() if key != "space"}, values["space"]
