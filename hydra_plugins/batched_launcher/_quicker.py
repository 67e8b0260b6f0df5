"""Hydra's books of a job, written by Hydra itself, in half the time.

`run_job` copies the whole configuration four times, node by node through `copy.deepcopy` (8 ms each), and writes it out
through PyYAML's own emitter, though one job's differs from the next one's in a dozen lines. For as long as a book is kept,
copies are made here (0.5 ms each), and text comes from libyaml once for all jobs that have it. Both give the same: a test
holds every file and value to those of Hydra's basic launcher.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from functools import cache
from types import SimpleNamespace
from typing import Any

import hydra.core.utils
import omegaconf.omegaconf
import yaml
from omegaconf import Container, DictConfig, Node, OmegaConf


def duplicate(value: Any) -> Any:
    """What `copy.deepcopy` gives; of a configuration, a copy with the same parent."""
    return _copy_of(value, value._get_parent()) if isinstance(value, Container) else copy.deepcopy(value)


def _copy_of(node: Any, parent: Any) -> Any:
    """A node and all below it. Values are shared, since a node only ever replaces its value; what it says of itself is not."""
    kept = node.__dict__
    new = node.__class__.__new__(node.__class__)
    made = new.__dict__
    made.update(kept)
    made["_parent"] = parent
    made["_metadata"] = _metadata_of(kept["_metadata"])
    made["_flags_cache"] = None  # it depends on the parent, and is filled again when asked for
    # A missing, null or interpolated container has None or a string for content.
    content = kept.get("_content")
    if isinstance(content, dict):
        made["_content"] = {key: _copy_of(child, new) for key, child in content.items()}
    elif isinstance(content, list):
        made["_content"] = [_copy_of(child, new) for child in content]
    elif isinstance(content, Node):  # of a union
        made["_content"] = _copy_of(content, new)
    return new


def _metadata_of(metadata: Any) -> Any:
    new = metadata.__class__.__new__(metadata.__class__)
    made = new.__dict__
    made.update(metadata.__dict__)
    if made["flags"]:
        made["flags"] = dict(made["flags"])
    if "resolver_cache" in made:  # empty nearly everywhere
        made["resolver_cache"] = copy.deepcopy(made["resolver_cache"]) if made["resolver_cache"] else defaultdict(dict)
    return new


def only(config: DictConfig, keys: str | list[str]) -> DictConfig:
    """What `OmegaConf.masked_copy` gives: a configuration with a copy of these nodes and no others."""
    chosen = DictConfig({})
    for key in [keys] if isinstance(keys, str) else keys:
        chosen.__dict__["_content"][key] = _copy_of(config._get_node(key), chosen)
    return chosen


@cache
def dumper() -> Any:
    """OmegaConf's dumper on libyaml's emitter; its own where PyYAML came without."""
    own = omegaconf.omegaconf.get_omega_conf_dumper()
    if not hasattr(yaml, "CDumper"):
        return own
    parts = ("yaml_representers", "yaml_multi_representers", "yaml_implicit_resolvers")
    return type("Dumper", (yaml.CDumper,), {name: getattr(own, name) for name in parts})


def plain(node: Any) -> Any:
    """What `OmegaConf.to_container(…, enum_to_str=True)` gives: interpolations and `???` as they are written."""
    if not isinstance(node, Container):
        value = node._value()
        return value.name if isinstance(value, Enum) else value
    content = node.__dict__["_content"]
    if isinstance(content, dict):
        return {key.name if isinstance(key, Enum) else key: plain(child) for key, child in content.items()}
    return [plain(child) for child in content] if isinstance(content, list) else content


def written(config: DictConfig) -> str:
    """What `OmegaConf.to_yaml` gives. A mapping in block style is the text of its entries, one after the other."""
    whole = plain(config)
    if "Path(" in repr(whole):
        return _dumped(whole)  # a path may stand in two places, and is then written once
    parts: list[str] = []
    for key, value in whole.items():
        # The first line is `key:` for a plain name; others may be quoted, folded or set apart.
        if isinstance(value, dict) and value and isinstance(key, str) and key.isidentifier():
            entries = [_text({key: {inner: below}}).partition("\n") for inner, below in value.items()]
            parts += [entries[0][0], "\n", *(entry[2] for entry in entries)]
        else:
            parts.append(_text({key: value}))
    return "".join(parts)


_known: dict[str, str] = {}
"""Text by what it says; of plain values, which `repr` tells apart (1, 1.0, True and '1')."""


def _text(mapping: dict[Any, Any]) -> str:
    said = repr(mapping)
    if said not in _known:
        if len(_known) >= 256:  # what every job has is soon here again
            _known.clear()
        _known[said] = _dumped(mapping)
    return _known[said]


def _dumped(mapping: dict[Any, Any]) -> str:
    text: str = yaml.dump(mapping, default_flow_style=False, allow_unicode=True, sort_keys=False, Dumper=dumper())
    return text


@contextmanager
def quicker() -> Iterator[None]:
    chosen, to_yaml = dumper(), OmegaConf.to_yaml
    before = hydra.core.utils.copy, omegaconf.omegaconf.get_omega_conf_dumper, OmegaConf.masked_copy

    def text(config: Any, *, resolve: bool = False, sort_keys: bool = False) -> str:
        if resolve or sort_keys or not isinstance(config, DictConfig) or not isinstance(config._content, dict):
            return to_yaml(config, resolve=resolve, sort_keys=sort_keys)
        return written(config) or to_yaml(config)

    hydra.core.utils.copy = SimpleNamespace(deepcopy=duplicate, copy=copy.copy)  # type: ignore[assignment]
    omegaconf.omegaconf.get_omega_conf_dumper = lambda: chosen
    OmegaConf.masked_copy = staticmethod(only)  # type: ignore[method-assign, assignment]
    OmegaConf.to_yaml = staticmethod(text)  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        hydra.core.utils.copy, omegaconf.omegaconf.get_omega_conf_dumper = before[:2]
        OmegaConf.masked_copy = staticmethod(before[2])  # type: ignore[method-assign]
        OmegaConf.to_yaml = staticmethod(to_yaml)  # type: ignore[method-assign]
