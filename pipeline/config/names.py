"""What a person calls a run: `RunConfig.name`, and within a plan the values in which its namesakes there differ."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pipeline.config import rules
from pipeline.config.run_config import RunConfig

SHORT = {"optimizer.learning_rate": "lr", "dataset.train_size": "n", "training.batch_size": "b", "training.epochs": "e"}
"""What stands before the values of these keys; before others, the last part of their key."""


def names(jobs: Iterable[RunConfig]) -> dict[RunConfig, str]:
    """The name of each job within a plan, such as `sgd-w16-d1-lr0.1-s0` where runs of one optimizer and shape differ in it.

    A value that follows from optimizer, width and depth (a default or tuned learning rate) is in no name.
    """
    flat = {job: job.flat() for job in jobs}
    namesakes: dict[str, list[dict[str, Any]]] = {}
    for job, values in flat.items():
        namesakes.setdefault(configuration_name(job.name), []).append(values)
    swept = {
        key
        for group in namesakes.values()
        for key in {key for values in group for key in values}.difference(("seed", "optimizer.class"))
        if any(values.get(key) != group[0].get(key) for values in group)
    }
    return {job: _with_values(job, [key for key in values if key in swept], values) for job, values in flat.items()}


def whole_names(jobs: Iterable[RunConfig]) -> dict[RunConfig, str]:
    """The name of each job of any plan: the short one, or where it has namesakes the one that tells it from these."""
    namesakes: dict[str, list[RunConfig]] = {}
    for job in jobs:
        namesakes.setdefault(configuration_name(job.name), []).append(job)
    return {job: name for alike in namesakes.values() for job, name in names(alike).items()}


def configuration_name(name: str) -> str:
    """A run's name without its seed."""
    return name.rpartition("-s")[0]


def is_name(word: str, job: RunConfig) -> bool:
    """Whether `word` is the name of a job in any plan: that of `RunConfig.name`, with values of its before the seed."""
    front, seed = configuration_name(job.name), f"-s{job.seed}"
    if not (word.startswith(front) and word.endswith(seed) and len(word) >= len(job.name)):
        return False
    middle = word[len(front) : -len(seed)]
    for value in sorted((f"-{_value(key, value)}" for key, value in job.flat().items()), key=len, reverse=True):
        middle = middle.replace(value, "", 1)
    return not middle


def _with_values(job: RunConfig, keys: list[str], values: dict[str, Any]) -> str:
    return "-".join([configuration_name(job.name), *(_value(key, values[key]) for key in keys), f"s{job.seed}"])


def _value(key: str, value: Any) -> str:
    """`lr0.1`, `dropout0.5`, `nesterovtrue`; a text by itself, of an import path the last part."""
    if isinstance(value, str):
        return value.rpartition(".")[2]
    shown = "x".join(map(_number, value)) if isinstance(value, list) else _number(value)
    return f"{SHORT.get(key, key.rpartition('.')[2])}{shown}"


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else rules.shown(value)
