"""Compare sweeps of different code versions: the code becomes a factor, and runs are paired by seed across versions."""

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
"""Digest of the training code shared by all runs, and the versions of PACKAGES."""


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
    """Return `sources`, merging those that belong together.

    Sources that trained the same configurations with different versions get the factor `code`. Others merge if they
    ask the same question, unless they hold the same run with different results.
    """
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
    found = _of_one_question([source for source in sources if source.name not in names])
    return (
        [_versions(_joint(" and ".join(source.name for source in together), together), code), *found]
        if together
        else found
    )


def _of_one_question(sources: Sequence[Source]) -> list[Source]:
    found: list[Source] = []
    for source in sources:
        asked = {sweep.name for sweep in source.sweeps}
        for place, earlier in enumerate(found):
            joint = _joint(earlier.name, [earlier, source])
            once = len({run.job for run in joint.results}) == len(joint.results)
            if once and asked & {sweep.name for sweep in earlier.sweeps}:
                found[place] = joint
                break
        else:
            found.append(source)
    return found


def _versions(source: Source, code: Mapping[str, str]) -> Source:
    """Return the source with the code version in each run's configuration."""
    names = _names(source.results, code)
    return replace(source, results=[_versioned(run, names[_version(run, code)]) for run in source.results])


def _joint(name: str, sources: Sequence[Source]) -> Source:
    runs = {run.key: run for source in sources for run in source.results}
    return Source(
        name,
        tuple(chain.from_iterable(source.folders for source in sources)),
        tuple(chain.from_iterable(source.sweeps for source in sources)),
        list(runs.values()),
        {key: ids for source in sources for key, ids in source.published.items()},
        list(chain.from_iterable(source.lost for source in sources)),
        list(chain.from_iterable(source.others for source in sources)),
    )


def _version(run: RunResult, code: Mapping[str, str]) -> Version:
    numerics = run.identity.get("numerics", {})
    return code.get(source_of(run), source_of(run)), *(str(numerics.get(name, "")) for name in PACKAGES)


def _names(runs: Sequence[RunResult], code: Mapping[str, str]) -> dict[Version, str]:
    """Return a name per version, `3f2a91c0@8ba95138`: prefixes of its code's digest and of a commit that has it.

    Package versions follow if they differ between versions.
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
    """Return the run with its version in its configuration, no longer among what paired runs must share."""
    numerics = {key: value for key, value in run.identity.get("numerics", {}).items() if key not in PACKAGES}
    identity = {**run.identity, "source": "", "numerics": numerics}
    values = {field.name: getattr(run.job, field.name) for field in fields(RunConfig)}
    return replace(run, job=VersionedConfig(**values, code=name), identity=identity)
