"""Where a run came from, what came of some data, and whether every link between them leads somewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipeline.cli import console
from pipeline.cli.errors import UserError, shown_line
from pipeline.data.arrays import META
from pipeline.storage import identity
from pipeline.storage.find import beginning
from pipeline.storage.record import OtherRelease, UnreadableRun
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import SWEEP, Ledger, Sweep
from pipeline.training.result import RunResult


def of_run(result: RunResult, store: RunStore, data: Path) -> list[str]:
    """A run's origins and whereabouts, a line each."""
    known, dataset = result.environment, result.job.dataset.name
    commit, lock = known.get("git_commit"), known.get("lock", "")
    same_lock = "as here" if lock == identity.environment().get("lock") else "another one than here"
    cpu, numerics = known.get("cpu", "unknown"), known.get("numerics_class", "unknown")
    labelled = [
        ("key", result.key),
        ("data", f"{result.identity['data']} ({dataset}; {_state_of_data(result, data)})"),
        *(("", f"dvc.lock has {path} of stage {stage} as {md5}") for stage, path, md5 in locked_outputs(dataset)),
        ("code", f"{result.identity['source']} ({_state_of_code(result)})"),
        ("git", f"{commit or 'no commit known'}{_uncommitted(result)}"),
        *([("", _state_of_lock(commit))] if commit else []),
        *([("experiment", f"{known['dvc_experiment']} (dvc exp show)")] if known.get("dvc_experiment") else []),
        ("packages", f"requirements.lock {lock[:16]} ({same_lock})"),
        ("machine", f"{cpu}, numerics class {numerics[:16]}"),
        ("command", identity.as_typed(known.get("command", "unknown"))),
        *(("in", place) for place in _places(result.key, store)),
    ]
    head = f"{result.name}, {result.status}, started {result.started}"
    return [head, *(f"  {label:<10} {text}" for label, text in labelled)]


def of_data(results: Sequence[RunResult], data: Path) -> list[str]:
    """All runs on one data digest."""
    name, digest = results[0].job.dataset.name, results[0].identity["data"]
    head = f"data {digest} ({name}; {_state_of_data(results[0], data)}): {len(results)} runs"
    return [head, *(f"  {beginning(run.key)} {run.name} {run.status} {run.started[:19]}" for run in results)]


def _state_of_data(result: RunResult, data: Path) -> str:
    """Whether the data of a run are the ones in `data`."""
    folder = data / result.job.dataset.name
    here, shown = _digest(folder / META), console.in_checkout(folder)
    if here is None:
        return f"not in {shown}"
    return f"in {shown}" if here == result.identity["data"] else f"{shown} has other data: {here[:12]}"


def _digest(meta: Path) -> str | None:
    """The digest of the decoded data that `meta` describes; None if it cannot be read."""
    try:
        return str(json.loads(meta.read_text(encoding="utf-8"))["digest"])
    except (OSError, ValueError, KeyError):
        return None


def _state_of_code(result: RunResult) -> str:
    numerics = result.identity["numerics"]
    if result.identity["source"] == identity.source_digest(numerics):
        return "the code that is here"
    names = identity.changed_sources(result.sources, numerics)
    return f"differs here in {', '.join(names[:4])}{' …' if len(names) > 4 else ''}"


def _uncommitted(result: RunResult) -> str:
    if result.environment.get("git_dirty") != "true":
        return ""
    # Files that decide no number may differ too: a page of the documentation.
    return ", and what uncommitted.diff in its folder adds" if result.patch else ", with changes to other files only"


def locked_outputs(dataset: str) -> Iterator[tuple[str, str, str]]:
    """(stage, path, md5) of the outputs that hold `dataset`, by dvc.lock."""
    try:
        text = (console.PROJECT / "dvc.lock").read_text(encoding="utf-8")
        lock: dict[str, Any] = yaml.safe_load(text) or {}
    except (OSError, ValueError, yaml.YAMLError):
        return
    for stage, content in (lock.get("stages") or {}).items():
        for out in content.get("outs", []):
            if Path(str(out.get("path"))).name == dataset:
                yield stage, str(out["path"]), str(out.get("md5"))


def _state_of_lock(commit: str) -> str:
    """Whether dvc.lock is what it was at `commit`."""
    then = identity.file_at(commit, "dvc.lock")
    if then is None:
        return f"git show {commit[:12]}:dvc.lock has nothing: the commit is not in this repository, or had none"
    path = console.PROJECT / "dvc.lock"
    if path.is_file() and path.read_text(encoding="utf-8") == then:
        return "dvc.lock is as it was at that commit"
    return f"dvc.lock has changed since: git diff {commit[:12]} -- dvc.lock"


def _places(key: str, store: RunStore) -> list[str]:
    """Every folder and record that has the run."""
    found = [console.in_checkout(store.folder(key))] if key in store else []
    found += [f"results/{folder.name}, the output of a stage" for folder, sweep in results() if key in sweep.keys]
    found += [f"sweep {sweep.id[:8]} ({sweep.name})" for sweep in Ledger(store) if key in sweep.keys]
    for ids in store.published_ids(key):
        where = f" at {ids['store']}" if "store" in ids else ""
        found.append(f"MLflow{where} as {ids.get('run_id')}")
    return found


def broken_links(store: RunStore, data: Path) -> tuple[list[str], list[str]]:
    """A line for every link of a run or a sweep that leads nowhere, and one for every run of another release."""
    broken: list[str] = []
    others: list[str] = []
    digests = {path.parent.name: _digest(path) for path in sorted(data.glob(f"*/{META}"))}
    for key in store.keys():  # noqa: SIM118 - iterating a store stops at the first damaged run
        try:
            result = store.read(key)
        except OtherRelease as error:
            others.append(str(error))
        except UnreadableRun as error:
            broken.append(str(error))
        else:
            here = digests.get(result.job.dataset.name)
            broken += [f"{beginning(key)} {result.name}: {fault}" for fault in _faults(result, here)]
    folders = [(folder.name, sweep, RunStore(folder)) for folder, sweep in results()]
    for name, sweep, runs in [*folders, *((f"sweep {sweep.id[:8]}", sweep, store) for sweep in Ledger(store))]:
        if absent := sum(key not in runs for key in sweep.keys):
            broken.append(f"{name} ({sweep.name}): {absent} of its {len(sweep.keys)} runs are gone")
    return broken, others


def _faults(result: RunResult, data: str | None) -> Iterator[str]:
    """The broken links of a run; `data` is the digest of its data set here, if that is known."""
    if identity.digest(result.sources) != result.identity.get("source"):
        yield "the digests of its source files are not those of its key"
    if data is not None and data != result.identity["data"]:
        yield f"its data {result.identity['data'][:12]} are not those that are here, {data[:12]}"
    commit = result.environment.get("git_commit")
    if commit and not identity.has_commit(commit):
        yield f"its commit {commit[:12]} is not in this repository"
    if result.environment.get("patch") and not result.patch:
        yield "its uncommitted.diff is gone"


def results() -> Iterator[tuple[Path, Sweep]]:
    """The folders in results/ with their sweeps. Warns of a record that cannot be read, which others may have written."""
    for path in sorted((console.PROJECT / "results").glob(f"*/{SWEEP}")):
        try:
            yield path.parent, Sweep.read(path.parent)
        except UserError as error:
            print(f"warning: left out: {shown_line(str(error))}", file=sys.stderr)
