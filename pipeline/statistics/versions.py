"""Sweeps of different code, compared version against version: the code becomes a factor, and runs are paired by seed across it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import chain
from typing import Any

from pipeline.config.run_config import RunConfig, digest
from pipeline.statistics.summary import CODE, shared_code, source_of
from pipeline.storage.sources import Source
from pipeline.training.result import RunResult

PACKAGES = ("keras_version", "backend_version")
"""Parts of a run's numerics that belong to its version."""

Version = tuple[str, ...]
"""Digest of the training code that all runs share, and the versions of PACKAGES."""


@dataclass(frozen=True)
class VersionedConfig(RunConfig):
    """A RunConfig together with the version of the code that trained it."""

    code: str = ""

    def flat(self) -> dict[str, Any]:
        return super().flat() | {CODE: self.code}

    @cached_property
    def configuration(self) -> str:
        plain = self.to_dict()
        del plain["seed"]
        return digest({CODE: self.code, **plain})


def joined(sources: Sequence[Source]) -> list[Source]:
    """`sources`, those that trained the same configurations with different versions made into one source, with the factor `code`."""
    trained: dict[str, dict[Version, set[str]]] = {}
    code = shared_code(run for source in sources for run in source.results)
    for source in sources:
        for run in source.results:
            trained.setdefault(run.job.configuration, {}).setdefault(_version(run, code), set()).add(source.name)
    names = {
        name
        for versions in trained.values()
        if len(versions) > 1 and len(set(chain.from_iterable(versions.values()))) > 1
        for name in chain.from_iterable(versions.values())
    }
    together = [source for source in sources if source.name in names]
    return (
        [_joint(together, code), *(source for source in sources if source.name not in names)]
        if together
        else [*sources]
    )


def _joint(sources: Sequence[Source], code: Mapping[str, str]) -> Source:
    runs = list({run.key: run for source in sources for run in source.results}.values())
    names = _names(runs, code)
    return Source(
        " and ".join(source.name for source in sources),
        sources[0].folder,
        None,
        [_versioned(run, names[_version(run, code)]) for run in runs],
        {key: ids for source in sources for key, ids in source.published.items()},
        list(chain.from_iterable(source.lost for source in sources)),
        list(chain.from_iterable(source.others for source in sources)),
    )


def _version(run: RunResult, code: Mapping[str, str]) -> Version:
    numerics = run.identity.get("numerics", {})
    return code.get(source_of(run), source_of(run)), *(str(numerics.get(name, "")) for name in PACKAGES)


def _names(runs: Sequence[RunResult], code: Mapping[str, str]) -> dict[Version, str]:
    """Of each version, `3f2a91c0@8ba95138`: the first letters of its code's digest and of a commit that has it.

    Versions of packages follow where they are not the same in all.
    """
    first = {_version(run, code): run for run in reversed(runs)}
    found = {}
    for version, run in first.items():
        parts = [name.removesuffix("_version") + value for name, value in zip(PACKAGES, version[1:], strict=True)]
        differ = [part for place, part in enumerate(parts, 1) if len({other[place] for other in first}) > 1]
        commit = run.environment.get("git_commit", "")
        found[version] = "/".join(["@".join(filter(None, [source_of(run)[:8], commit[:8]])), *differ])
    return found


def _versioned(run: RunResult, name: str) -> RunResult:
    """The run with its version in its configuration, and no longer among what two runs of a pair must share."""
    numerics = {key: value for key, value in run.identity.get("numerics", {}).items() if key not in PACKAGES}
    identity = {**run.identity, "source": "", "numerics": numerics}
    values = {field.name: getattr(run.job, field.name) for field in fields(RunConfig)}
    return replace(run, job=VersionedConfig(**values, code=name), identity=identity)
