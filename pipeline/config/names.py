"""Names of runs: `RunConfig.name`, and within a plan also the values in which runs of the same name differ."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pipeline.config import rules
from pipeline.config.run_config import RunConfig

SHORT = {"optimizer.learning_rate": "lr", "dataset.train_size": "n", "training.batch_size": "b", "training.epochs": "e"}
"""Prefixes of the values of these keys; for other keys it is the last part of the key."""


def names(jobs: Iterable[RunConfig]) -> dict[RunConfig, str]:
    """Return the name of each job within a plan, such as `sgd-w16-d1-lr0.1-s0` if the learning rate varies."""
    groups: dict[str, dict[RunConfig, dict[str, Any]]] = {}
    for job in jobs:
        groups.setdefault(configuration_name(job.name), {})[job] = job.flat()
    return {job: name for group in groups.values() for job, name in _distinguish(group).items()}


def _distinguish(group: dict[RunConfig, dict[str, Any]]) -> dict[RunConfig, str]:
    """Return the names of jobs that share their name but for the seed, with the values in which they differ."""
    first, *others = group.values()
    keys = dict.fromkeys(key for values in group.values() for key in values if key not in ("seed", "optimizer.class"))
    swept = [key for key in keys if any(values.get(key) != first.get(key) for values in others)]
    parts = {job: [_value(key, values[key]) for key in swept if key in values] for job, values in group.items()}
    return {job: "-".join([configuration_name(job.name), *parts[job], f"s{job.seed}"]) for job in group}


def configuration_name(name: str) -> str:
    """Return a run's name without its seed."""
    return name.rpartition("-s")[0]


def is_name(text: str, job: RunConfig) -> bool:
    """Return whether `text` may name the job in some plan: `RunConfig.name` with some of its values before the seed."""
    front, seed = configuration_name(job.name), f"-s{job.seed}"
    if not (text.startswith(front) and text.endswith(seed) and len(text) >= len(job.name)):
        return False
    middle = text[len(front) : -len(seed)]
    for value in sorted((f"-{_value(key, value)}" for key, value in job.flat().items()), key=len, reverse=True):
        middle = middle.replace(value, "", 1)
    return not middle


def _value(key: str, value: Any) -> str:
    """`lr0.1`, `dropout0.5`, `nesterovtrue`; a text without prefix; only the last part of an import path."""
    if isinstance(value, str):
        return value.rpartition(".")[2] if value.replace(".", "").isidentifier() else value
    shown = "x".join(map(short, value)) if isinstance(value, list) else short(value)
    return f"{SHORT.get(key, key.rpartition('.')[2])}{shown}"


def short(value: Any) -> str:
    """Return a value as a user types it; a number with up to six digits."""
    return f"{value:g}" if isinstance(value, float) else rules.to_text(value)
