"""Hydra's books of a job, written by Hydra itself, in half the time.

`run_job` copies the whole configuration four times and writes it out through PyYAML's own emitter, all in Python: 30 ms
of a job. For as long as a book is kept, copies go through pickle and text through libyaml, which give the same: a test holds
every file and value to those of Hydra's basic launcher.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any

import hydra.core.utils
import omegaconf.omegaconf
import yaml
from omegaconf import Container, DictConfig, OmegaConf


def duplicate(value: Any) -> Any:
    """What `copy.deepcopy` gives."""
    return pickle.loads(pickle.dumps(value)) if isinstance(value, Container) else copy.deepcopy(value)


def only(config: DictConfig, keys: str | list[str]) -> DictConfig:
    """What `OmegaConf.masked_copy` gives: a configuration with a copy of these nodes and no others."""
    whole, chosen = duplicate(config), DictConfig({})
    for key in [keys] if isinstance(keys, str) else keys:
        node = whole._get_node(key)
        node._set_parent(chosen)
        chosen.__dict__["_content"][key] = node
    return chosen


@cache
def dumper() -> Any:
    """OmegaConf's dumper on libyaml's emitter; its own where PyYAML came without."""
    own = omegaconf.omegaconf.get_omega_conf_dumper()
    if not hasattr(yaml, "CDumper"):
        return own
    parts = ("yaml_representers", "yaml_multi_representers", "yaml_implicit_resolvers")
    return type("Dumper", (yaml.CDumper,), {name: getattr(own, name) for name in parts})


@contextmanager
def quicker() -> Iterator[None]:
    chosen = dumper()
    before = hydra.core.utils.copy, omegaconf.omegaconf.get_omega_conf_dumper, OmegaConf.masked_copy
    hydra.core.utils.copy = SimpleNamespace(deepcopy=duplicate, copy=copy.copy)  # type: ignore[assignment]
    omegaconf.omegaconf.get_omega_conf_dumper = lambda: chosen
    OmegaConf.masked_copy = staticmethod(only)  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        hydra.core.utils.copy, omegaconf.omegaconf.get_omega_conf_dumper = before[:2]
        OmegaConf.masked_copy = staticmethod(before[2])  # type: ignore[method-assign]
