"""The run that a person means by a word: a key or its first letters, an MLflow run id, a name, a run's folder."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.cli.errors import UserError
from pipeline.storage.record import UnreadableRun
from pipeline.storage.store import KEY, RECORD, RunStore
from pipeline.training.result import RunResult

SHORTEST = 6
"""Letters of a key that may stand for it."""
SHORT = 12
"""Letters of a key that do so in tables and in what a person is told."""

KEYS = "keys"
"""The column of tables that holds them, between spaces. Ids of MLflow would be no use there: a table may come with the
project, and another one's database has other ids."""


def beginning(key: str) -> str:
    """The beginning of a key, by which any command finds its run."""
    return key[:SHORT]


def find_run(word: str, store: RunStore) -> RunResult:
    """The run, with its arrays. Raises UserError where there is none, or more than one."""
    folder = Path(word)
    if KEY.fullmatch(folder.absolute().name) and (folder / RECORD).is_file():
        return RunStore(folder.absolute().parent).read(folder.absolute().name)
    keys = find_keys(word, store)
    if not keys:
        raise UserError(
            f"{word}: no such run in {store.root}; expected a key (or its first {SHORTEST} letters), the id of an MLflow run, "
            "a name such as adam-w512-d1-s0, or a run's folder"
        )
    if len(keys) > 1:
        raise UserError(f"{word}: {len(keys)} runs have that name; say which: {'; '.join(_distinguished(store, keys))}")
    return store.read(keys[0])


def find_keys(word: str, store: RunStore) -> list[str]:
    """Keys of the runs that `word` may stand for."""
    keys = store.keys()
    if re.fullmatch(r"[0-9a-f]{6,64}", word):
        by_key = [key for key in keys if key.startswith(word)]
        if by_key:
            return by_key
    if re.fullmatch(r"[0-9a-f]{32}", word):
        return [key for key in keys if word in {ids.get("run_id") for ids in store.published_ids(key)}]
    return [key for key in keys if _name(store, key) == word]


def _distinguished(store: RunStore, keys: list[str]) -> list[str]:
    """A line for each run: its key, when it was trained, and where its configuration differs from the others."""
    results = [store.record(key) for key in keys]
    flat = [result.job.flat() for result in results]
    lines = []
    for result, own in zip(results, flat, strict=True):
        differing = [
            f"{name}={value}" for name, value in own.items() if any(other.get(name) != value for other in flat)
        ]
        numerics = [f"{n}={v}" for n, v in result.identity.get("numerics", {}).items() if _differs(results, n)]
        lines.append(" ".join([beginning(result.key), result.started[:16], *differing, *numerics]))
    return lines


def _differs(results: list[RunResult], name: str) -> bool:
    return len({str(result.identity.get("numerics", {}).get(name)) for result in results}) > 1


def _name(store: RunStore, key: str) -> str:
    try:
        return store.record(key).name
    except UnreadableRun:
        return ""
