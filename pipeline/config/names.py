"""What a person calls a run: `RunConfig.name`, and within a plan the values in which its namesakes there differ."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pipeline.config import rules
from pipeline.config.run_config import RunConfig

SHORT = {"optimizer.learning_rate": "lr", "dataset.train_size": "n", "training.batch_size": "b", "training.epochs": "e"}
"""What stands before the values of these keys; before others, the last part of their key."""


def names(jobs: Iterable[RunConfig]) -> dict[RunConfig, str]:
    """The name of each job within a plan, such as `sgd-w16-d1-lr0.1-s0` where runs of one optimizer and shape differ in it."""
    namesakes: dict[str, dict[RunConfig, dict[str, Any]]] = {}
    for job in jobs:
        namesakes.setdefault(configuration_name(job.name), {})[job] = job.flat()
    return {job: name for alike in namesakes.values() for job, name in _distinguish(alike).items()}


def _distinguish(alike: dict[RunConfig, dict[str, Any]]) -> dict[RunConfig, str]:
    """The names of runs that share all but the seed of their short one, with the values in which they differ."""
    first, *others = alike.values()
    keys = dict.fromkeys(key for values in alike.values() for key in values if key not in ("seed", "optimizer.class"))
    swept = [key for key in keys if any(values.get(key) != first.get(key) for values in others)]
    told = {job: [_value(key, values[key]) for key in swept if key in values] for job, values in alike.items()}
    return {job: "-".join([configuration_name(job.name), *told[job], f"s{job.seed}"]) for job in alike}


def configuration_name(name: str) -> str:
    """A run's name without its seed."""
    return name.rpartition("-s")[0]


def is_name(text: str, job: RunConfig) -> bool:
    """Whether `word` is the name of a job in any plan: that of `RunConfig.name`, with values of its before the seed."""
    front, seed = configuration_name(job.name), f"-s{job.seed}"
    if not (text.startswith(front) and text.endswith(seed) and len(text) >= len(job.name)):
        return False
    middle = text[len(front) : -len(seed)]
    for value in sorted((f"-{_value(key, value)}" for key, value in job.flat().items()), key=len, reverse=True):
        middle = middle.replace(value, "", 1)
    return not middle


def _value(key: str, value: Any) -> str:
    """`lr0.1`, `dropout0.5`, `nesterovtrue`; a text by itself, of an import path the last part."""
    if isinstance(value, str):
        return value.rpartition(".")[2]
    shown = "x".join(map(_number, value)) if isinstance(value, list) else _number(value)
    return f"{SHORT.get(key, key.rpartition('.')[2])}{shown}"


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else rules.to_text(value)
