"""Configurations and jobs for the tests: on digits, small and short unless they say otherwise."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml

from pipeline.config import rules
from pipeline.config.compose import to_job
from pipeline.config.job import Job


def settings(optimizer: str = "sgd", **changes: Any) -> dict[str, Any]:
    """What Hydra would compose, as plain values; `changes` by the last part of their keys, such as `learning_rate`."""
    groups = {"dataset": "digits", "model": "dense", "training": "default", "device": "cpu", "tracking": "none"}
    values: dict[str, Any] = {group: _file(group, name) for group, name in (groups | {"optimizer": optimizer}).items()}
    values["device"] = _file("device", "auto") | {"kind": "cpu"}
    values |= {"paths": {"data": "data", "runs": "runs", "results": None}, "seed": 0, "question": "tests"}
    values |= {"plan": False, "force": False, "retry": "failed"}
    for name, value in changes.items():
        if name in values:
            values[name] = value
        else:
            [section] = [section for section in values.values() if isinstance(section, dict) and name in section]
            section[name] = value
    return values


def make_job(optimizer: str = "sgd", **changes: Any) -> Job:
    small = {"width": 8, "epochs": 1, "batch_size": 100, "curve_samples": 0, "validation_size": 100}
    return to_job(settings(optimizer, **(small | changes)))


def _file(group: str, name: str) -> dict[str, Any]:
    return dict(_read(group, name))


@cache
def _read(group: str, name: str) -> dict[str, Any]:
    return yaml.safe_load((rules.CONF / group / f"{name}.yaml").read_text())
