"""What has changed since a run was trained: code, data, versions, the way this machine computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.storage import identity
from pipeline.training.result import RunResult

DECIDING = ("python", "numpy", "jaxlib", "platform")
"""What of the environment may decide bits, besides the key and the numerics class."""

SHOWN = 6
"""Files that are named; of more, their number."""


def of_identity(then: RunResult, now: Mapping[str, Any]) -> tuple[str, ...]:
    """What differs between the identity of a stored run and that of a run `now`: code, data, numerics, or else fields."""
    numerics = _of_numerics(then, now["numerics"])
    lines = []
    if then.identity["source"] != now["source"]:
        names = identity.changed_sources(then.sources, then.identity["numerics"])
        if names or not numerics:  # another trainer is other code
            lines.append(_files(names) or "the code")
    if then.identity["data"] != now["data"]:
        lines.append(f"the data of {then.job.dataset.name}")
    return (*lines, *numerics) or ("the configuration has other fields",)


def deciding(then: RunResult, numerics: dict[str, Any], numerics_class: str) -> list[str]:
    """What decides bits and has changed since: code, versions, the way this machine computes."""
    lines = []
    if then.identity["source"] != identity.source_digest(then.identity["numerics"]):
        lines.append(code(then))
    lines += _of_numerics(then, numerics)
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


def code(then: RunResult) -> str:
    """Which source files have changed, and which commit has them as they were."""
    names = identity.changed_sources(then.sources, then.identity["numerics"])
    line = f"code: {_files(names) or 'not the same'}"
    commit = then.environment.get("git_commit")
    if not commit:
        return f"{line}; the run knows no commit"
    committed = identity.commit_has(commit, {name: then.sources[name] for name in names if name in then.sources})
    if committed is None:
        return f"{line}; commit {commit[:12]}, which is not in this repository, had them"
    if committed:
        return f"{line}; commit {commit[:12]} has them as they were"
    if then.patch:
        return f"{line}; commit {commit[:12]} has them, with the patch {then.key[:12]}…/uncommitted.diff on top"
    return f"{line}; commit {commit[:12]} has them only in part: some changes were not committed"


def _of_numerics(then: RunResult, now: Mapping[str, Any]) -> list[str]:
    was = then.identity["numerics"]
    return [f"{name}: {was.get(name)} then, {value} now" for name, value in now.items() if was.get(name) != value]


def _files(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(f"pipeline/{name}" for name in names[:SHOWN]) + more
