"""Where a run came from, and what came of some data.

    python -m pipeline.lineage RUN|DIGEST
    python -m pipeline.lineage --check

RUN is a key (or its first letters), the id of an MLflow run, a run's name or its folder; DIGEST is a data digest, or its
first letters. --check looks for broken links and ends with status 3 where it finds some.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipeline.cli import console
from pipeline.cli.errors import RunsLost, UserError, shown_line
from pipeline.data.arrays import META
from pipeline.storage import identity
from pipeline.storage.find import find_keys, find_run
from pipeline.storage.record import OtherRelease, UnreadableRun
from pipeline.storage.store import RunStore
from pipeline.storage.sweep import SWEEP, Ledger, Sweep
from pipeline.tracking import open_tracker
from pipeline.tracking.address import home
from pipeline.training.result import Result

DEFAULTS = {"data": "data/processed", "runs": "runs", "tracking": "sqlite"}


def main(argv: Sequence[str]) -> int:
    words = [word for word in argv if "=" not in word and not word.startswith("-")]
    options = console.words([word for word in argv if word not in words and word != "--check"], DEFAULTS, __doc__ or "")
    store, data = RunStore(home() / options["runs"]), console.PROJECT / options["data"]
    if "--check" in argv:
        return check(store, data, options["tracking"])
    if len(words) != 1:
        raise UserError("expected one RUN or DIGEST, or --check; --help says what they are")
    [word] = words
    if not find_keys(word, store) and re.fullmatch("[0-9a-f]{6,64}", word):
        on_data = [result for result in store.records() if result.identity.get("data", "").startswith(word)]
        if on_data:
            print("\n".join(of_data(on_data, data)))
            return 0
    print("\n".join(of_run(find_run(word, store), store, data)))
    return 0


def of_run(result: Result, store: RunStore, data: Path) -> list[str]:
    """A run's origins and whereabouts, a line each."""
    known = result.environment
    lines = [f"{result.name}, {result.status}, started {result.started}", f"  key        {result.key}"]
    digest = result.identity["data"]
    lines.append(f"  data       {digest} ({result.job.dataset.name}; {state_of_data(result, data)})")
    for stage, path, md5 in locked(result.job.dataset.name):
        lines.append(f"             dvc.lock has {path} of stage {stage} as {md5}")
    lines.append(f"  code       {result.identity['source']} ({state_of_code(result)})")
    commit = known.get("git_commit")
    lines.append(f"  git        {commit or 'no commit known'}{_changed(result)}")
    lines += [f"             {line}" for line in with_commit(commit)]
    if known.get("dvc_experiment"):
        lines.append(f"  experiment {known['dvc_experiment']} (dvc exp show)")
    lock = known.get("lock", "")
    same = "as here" if lock == identity.environment().get("lock") else "another one than here"
    lines.append(f"  packages   requirements.lock {lock[:16]} ({same})")
    lines.append(
        f"  machine    {known.get('cpu', 'unknown')}, numerics class {known.get('numerics_class', 'unknown')[:16]}"
    )
    lines.append(f"  command    {identity.as_typed(known.get('command', 'unknown'))}")
    lines += [f"  in         {place}" for place in places(result.key, store)]
    return lines


def of_data(results: Sequence[Result], data: Path) -> list[str]:
    """All runs on one data digest."""
    digest = results[0].identity["data"]
    lines = [f"data {digest} ({results[0].job.dataset.name}; {state_of_data(results[0], data)}): {len(results)} runs"]
    return lines + [f"  {result.key[:12]} {result.name} {result.status} {result.started[:19]}" for result in results]


def state_of_data(result: Result, data: Path) -> str:
    """Whether the data of a run are the ones that lie here."""
    folder = data / result.job.dataset.name
    here = _digest(folder / META)
    if here is None:
        return f"not in {_short(folder)}"
    return (
        f"in {_short(folder)}" if here == result.identity["data"] else f"{_short(folder)} has other data: {here[:12]}"
    )


def _digest(meta: Path) -> str | None:
    """What the decoded data beside `meta` are; None where that cannot be told."""
    try:
        return str(json.loads(meta.read_text(encoding="utf-8"))["digest"])
    except (OSError, ValueError, KeyError):
        return None


def state_of_code(result: Result) -> str:
    if result.identity["source"] == identity.source_digest():
        return "the code that is here"
    here = identity.sources()
    names = {name for name in {*here, *result.sources} if here.get(name) != result.sources.get(name)}
    return f"differs here in {', '.join(sorted(names)[:4])}{' …' if len(names) > 4 else ''}"


def _changed(result: Result) -> str:
    if result.environment.get("git_dirty") != "true":
        return ""
    # Files that decide no number may differ too: a page of the documentation.
    return ", and what uncommitted.diff in its folder adds" if result.patch else ", with changes to other files only"


def locked(dataset: str, text: str | None = None) -> Iterator[tuple[str, str, str]]:
    """(stage, path, md5) of the outputs that hold `dataset`, as dvc.lock says."""
    path = console.PROJECT / "dvc.lock"
    try:
        lock: dict[str, Any] = yaml.safe_load(text if text is not None else path.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, yaml.YAMLError):
        return
    for stage, content in (lock.get("stages") or {}).items():
        for out in content.get("outs", []):
            if Path(str(out.get("path"))).name == dataset:
                yield stage, str(out["path"]), str(out.get("md5"))


def with_commit(commit: str | None) -> list[str]:
    """What dvc.lock said at the commit of a run, where that is not what it says now."""
    if not commit:
        return []
    then = identity.file_at(commit, "dvc.lock")
    if then is None:
        return [f"git show {commit[:12]}:dvc.lock has nothing: the commit is not in this repository, or had none"]
    path = console.PROJECT / "dvc.lock"
    if path.is_file() and path.read_text(encoding="utf-8") == then:
        return ["dvc.lock is as it was at that commit"]
    return [f"dvc.lock has changed since: git diff {commit[:12]} -- dvc.lock"]


def places(key: str, store: RunStore) -> list[str]:
    """Every folder and record that has the run."""
    found = [_short(store.folder(key))] if key in store else []
    found += [f"results/{name}, the output of a stage" for name, sweep in _gathered() if key in sweep.keys]
    found += [f"sweep {sweep.id[:8]} ({sweep.name})" for sweep in Ledger(store) if key in sweep.keys]
    for ids in store.everywhere(key):
        where = f" at {ids['store']}" if "store" in ids else ""
        found.append(f"MLflow{where} as {ids.get('run_id')}")
    return found


def check(store: RunStore, data: Path, tracking: str) -> int:
    """Say every link that leads nowhere. Raises RunsLost (status 3) where there is one."""
    broken: list[str] = []
    others: list[str] = []
    runs = 0
    digests = {path.parent.name: _digest(path) for path in sorted(data.glob(f"*/{META}"))}
    for key in store.keys():  # noqa: SIM118 - iterating a store stops at the first damaged run
        runs += 1
        try:
            result = store.read(key)
        except OtherRelease as error:
            others.append(str(error))
            continue
        except UnreadableRun as error:
            broken.append(str(error))
            continue
        if identity.digest(result.sources) != result.identity.get("source"):
            broken.append(f"{key[:12]} {result.name}: the digests of its source files are not those of its key")
        here = digests.get(result.job.dataset.name)
        if here is not None and here != result.identity["data"]:
            wanted = result.identity["data"][:12]
            broken.append(f"{key[:12]} {result.name}: its data {wanted} are not those that are here, {here[:12]}")
        commit = result.environment.get("git_commit")
        if commit and not identity.has_commit(commit):
            broken.append(f"{key[:12]} {result.name}: its commit {commit[:12]} is not in this repository")
        if result.environment.get("patch") and not result.patch:
            broken.append(f"{key[:12]} {result.name}: its uncommitted.diff is gone")
    for name, sweep in [*_gathered(), *((f"sweep {one.id[:8]}", one) for one in Ledger(store))]:
        where = RunStore(console.PROJECT / "results" / name) if (console.PROJECT / "results" / name).is_dir() else store
        absent = [key for key in sweep.keys if key not in where]
        if absent:
            broken.append(f"{name} ({sweep.name}): {len(absent)} of its {len(sweep.keys)} runs are gone")
    broken += unpublished(store, tracking)
    if others:
        print(f"{len(others)} of {runs} runs are of another release of this project, such as {shown_line(others[0])}")
    for line in broken:
        print(shown_line(line))
    if broken:
        raise RunsLost(f"{len(broken)} broken links, each named above")
    print(f"{runs} runs: no broken link")
    return 0


def unpublished(store: RunStore, tracking: str) -> list[str]:
    """Runs that say they are in MLflow and are not. Those that are there alone are counted, for information."""
    tracker = open_tracker(tracking)
    there = tracker.published_keys()
    if there is None:
        return []
    noted = {store.published(key, tracker.address.name).get("run_id"): key for key in store.keys()}  # noqa: SIM118
    lines = [
        f"{key[:12]}: its MLflow run {run_id} is not in the store"
        for run_id, key in noted.items()
        if run_id and run_id not in there
    ]
    keys = set(store.keys())
    if gone := {run_id: key for run_id, key in there.items() if key not in keys}:
        # No link of theirs is broken: MLflow has all it takes to train them again.
        print(f"{len(gone)} runs are in MLflow alone, without a folder in runs/ (such as {next(iter(gone))})")
    return lines


def _gathered() -> list[tuple[str, Sweep]]:
    """The folders in results/ with their sweeps; those that cannot be read, which others may have written, are named."""
    found = []
    for path in sorted((console.PROJECT / "results").glob(f"*/{SWEEP}")):
        try:
            found.append((path.parent.name, Sweep.read(path.parent)))
        except UserError as error:
            print(f"warning: left out: {shown_line(str(error))}", file=sys.stderr)
    return found


def _short(path: Path) -> str:
    return str(path.relative_to(console.PROJECT)) if path.is_relative_to(console.PROJECT) else str(path)


if __name__ == "__main__":
    console.run(main)
