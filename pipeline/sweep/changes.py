"""What has changed since a run was trained: code, data, versions, numerics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.storage import identity
from pipeline.training.result import RunResult

DECIDING = ("python", "numpy", "jaxlib", "platform")
"""Parts of the environment that may decide bits, besides the key and the numerics class."""

SHOWN = 6
"""Maximum number of files that are named."""


def of_identity(then: RunResult, now: Mapping[str, Any]) -> list[str]:
    """Return what differs between the identity of a stored run and of the run `now`: code, data, numerics, or other fields."""
    was = then.identity["numerics"]
    numerics = [
        f"{name}: {was.get(name)} then, {value} now"
        for name, value in now["numerics"].items()
        if was.get(name) != value
    ]
    lines = []
    # Another trainer is other code, of which no file has changed.
    if then.identity["source"] != now["source"] and ((files := _files(then)) or not numerics):
        lines.append(files or "the code")
    if then.identity["data"] != now["data"]:
        lines.append(f"the data of {then.job.dataset.name}")
    return [*lines, *numerics] or ["the configuration has other fields"]


def deciding(then: RunResult, numerics: dict[str, Any], numerics_class: str) -> list[str]:
    """Return what decides bits and has changed since a run was trained."""
    now = {
        **then.identity,
        "source": identity.source_digest(then.identity["numerics"], custom_code=then.job.custom_code),
        "numerics": numerics,
    }
    lines = of_identity(then, now) if now != then.identity else []
    if then.identity["source"] != now["source"]:
        lines[0] = f"code: {lines[0]}; {_committed(then)}"
    here = identity.environment()
    lines += [
        f"{name}: {then.environment[name]} then, {here.get(name, 'none')} now"
        for name in DECIDING
        if name in then.environment and then.environment[name] != here.get(name)
    ]
    known = then.environment.get("numerics_class")
    if known != numerics_class:
        cpu = then.environment.get("cpu", "another processor")
        lines.append(f"numerics class: {(known or 'not recorded')[:12]} then ({cpu}), {numerics_class[:12]} here")
    return lines


def _files(then: RunResult) -> str:
    names = identity.changed_sources(then.sources, then.identity["numerics"], then.job.custom_code)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(identity.path_of, names[:SHOWN])) + more


def _committed(then: RunResult) -> str:
    """Return a hint on which commit has the files unchanged."""
    commit = then.environment.get("git_commit")
    if not commit:
        return "the run knows no commit"
    patch = f" with the patch {then.key[:12]}…/uncommitted.diff" if then.patch else ""
    return f"commit {commit[:12]}{patch} has them as they were"
