"""Run folders: `<root>/<key>/` with `result.json`, `predictions.npy` and, for some runs, `weights.npz`.

A folder is written under a temporary name and renamed when it is complete, so a folder named by a key is complete. Reading
still checks the content against its digests, because disks and people make mistakes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cli.errors import UserError
from pipeline.config.digests import array_digest, arrays_digest
from pipeline.data.files import LOCK, atomic_write, locked
from pipeline.storage.identity import LARGEST_PATCH
from pipeline.storage.record import (
    DamagedRun,
    OtherRelease,
    UnreadableRun,
    check_predictions,
    encode_nonfinite,
    read_bytes,
    result_of,
    stored,
)
from pipeline.training.result import RunResult

RECORD, PREDICTIONS, PROBABILITIES, WEIGHTS = "result.json", "predictions.npy", "probabilities.npy", "weights.npz"
PATCH = "uncommitted.diff"
PUBLISHED = "published.json"
"""The ids of the run in tracking stores; they are not part of the result."""

KEY = re.compile("[0-9a-f]{64}")
"""Pattern of a key, and of the names of run folders."""

AGAIN = "the command that trained it trains it again"

LARGEST_RECORD = 2**28
"""Bytes of a `result.json`; 10,000 epochs take 3 million."""


class RunStore:
    """A folder of run folders."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def folder(self, key: str) -> Path:
        """Return the folder of the run `key`. Raises KeyError if `key` is not a key, since it could be any path."""
        if not KEY.fullmatch(key):
            raise KeyError(key)
        return self.root / key

    def keys(self) -> list[str]:
        """Return the keys of all runs, sorted."""
        if not self.root.is_dir():
            return []
        return sorted(entry.name for entry in self.root.iterdir() if entry.name in self)

    def __contains__(self, key: str) -> bool:
        return bool(KEY.fullmatch(key)) and (self.root / key / RECORD).is_file()

    def __iter__(self) -> Iterator[RunResult]:
        for key in self.keys():
            yield self.read(key)

    def write(self, result: RunResult) -> Path:
        """Write `result` to disk, completely or not at all; replaces an earlier run with the same key.

        Raises UserError if the disk is full or the folder is not writable.
        """
        final = self.folder(result.key)
        with locked(self.root), atomic_write(final) as temporary:
            temporary.mkdir()
            of_probabilities: dict[str, str] = {}
            if result.predictions is not None:
                np.save(temporary / PREDICTIONS, result.predictions, allow_pickle=False)
                digests = {**result.digests, "predictions": array_digest(result.predictions)}
                result = replace(result, digests=digests)
            if result.probabilities is not None:
                np.save(temporary / PROBABILITIES, result.probabilities, allow_pickle=False)
                of_probabilities["probabilities"] = array_digest(result.probabilities)
            if result.weights is not None:
                save_weights(temporary / WEIGHTS, result.weights)
            if result.patch:
                (temporary / PATCH).write_bytes(result.patch)
            if noted := self.published_ids(result.key):
                _write_json(temporary / PUBLISHED, noted)
            _write_json(temporary / RECORD, stored(result) | of_probabilities)
        return final

    def records(self) -> Iterator[RunResult]:
        """Yield every run that can be read, without its arrays."""
        for key in self.keys():
            with suppress(UnreadableRun):
                yield self.record(key)

    def status(self, key: str) -> str:
        """Return the status of the run, unchecked; empty if its record cannot be read."""
        try:
            return str(self._stored(key)["record"]["status"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return ""

    def record(self, key: str) -> RunResult:
        """Return the run `key` without its arrays, checked. Raises DamagedRun or OtherRelease."""
        with self._reported_as_damaged(key):
            return result_of(self._stored(key), key)

    def _stored(self, key: str) -> Any:
        return json.loads(read_bytes(self.folder(key) / RECORD, LARGEST_RECORD))

    def read(self, key: str) -> RunResult:
        """Return the run `key`, checked against its digests. Raises DamagedRun or OtherRelease, or KeyError if there is none."""
        try:
            return self._read(key)
        except (KeyError, DamagedRun):
            if not ((self.root / LOCK).exists() and os.access(self.root, os.W_OK)):  # no other writer
                raise
        with locked(self.root):  # another process may have replaced it meanwhile
            return self._read(key)

    def _read(self, key: str) -> RunResult:
        folder = self.folder(key)
        if key not in self:
            raise KeyError(key)

        def check(name: str, found: object, recorded: object) -> None:
            if found != recorded:
                raise ValueError(f"its {name} do not match their digest")

        with self._reported_as_damaged(key):
            stored = self._stored(key)
            result = result_of(stored, key)
            if result.finished:
                result.predictions = _load(folder / PREDICTIONS)
                check_predictions(result)
                check("predictions", array_digest(result.predictions), result.digests["predictions"])
            if (folder / PATCH).is_file():
                result.patch = read_bytes(folder / PATCH, LARGEST_PATCH)
                check("uncommitted changes", hashlib.sha256(result.patch).hexdigest(), result.environment.get("patch"))
            if (folder / PROBABILITIES).is_file():
                result.probabilities = _load(folder / PROBABILITIES)
                check("probabilities", array_digest(result.probabilities), stored["probabilities"])
            if (folder / WEIGHTS).is_file():
                result.weights = _load_weights(folder / WEIGHTS)
                check("weights", arrays_digest(result.weights), result.digests["final_weights"])
        return result

    @contextmanager
    def _reported_as_damaged(self, key: str) -> Iterator[None]:
        """Turn the exceptions of reading a damaged file into DamagedRun, and add the folder to OtherRelease."""
        try:
            yield
        except OtherRelease as error:
            raise OtherRelease(error.unknown, self.folder(key)) from error
        except Exception as error:  # a damaged header makes numpy and zipfile raise almost anything
            raise DamagedRun(f"{self.folder(key)}: damaged ({type(error).__name__}: {error}); {AGAIN}") from error

    def drop_weights(self, key: str) -> None:
        """Remove weights and probabilities; metrics and predictions stay."""
        for name in (WEIGHTS, PROBABILITIES):
            (self.folder(key) / name).unlink(missing_ok=True)

    def published(self, key: str, store: str | None = None) -> dict[str, str]:
        """Return the ids of the run in a tracking store (`run_id`, `experiment_id`, `parent_run_id`, `store`), or {}.

        The store is the one named `store`, by default the last one that the run was sent to.
        """
        found = [ids for ids in self.published_ids(key) if store in (None, ids.get("store"))]
        return found[-1] if found else {}

    def published_ids(self, key: str) -> list[dict[str, str]]:
        """Return the ids of the run in each tracking store, in the order in which it was sent."""
        try:
            content = json.loads(read_bytes(self.folder(key) / PUBLISHED, LARGEST_RECORD))
        except (OSError, ValueError, RecursionError):
            return []
        return [
            {name: value for name, value in ids.items() if isinstance(value, str) and value.isprintable()}
            for ids in (content if isinstance(content, list) else [content])
            if isinstance(ids, dict)
        ]

    def note_published(self, key: str, ids: dict[str, str]) -> None:
        """Save the run's ids in the store `ids["store"]`, in place of earlier ones.

        The `model` of an earlier entry is kept if the MLflow run is the same.
        """
        with locked(self.root):
            if not self.folder(key).is_dir():
                raise UserError(f"{self.folder(key)}: the run has been removed; {AGAIN}")
            before = self.published(key, ids.get("store")).get("model")
            model = {"model": before} if before and before == ids["run_id"] else {}
            others = [other for other in self.published_ids(key) if other.get("store") != ids.get("store")]
            with atomic_write(self.folder(key) / PUBLISHED) as temporary:
                _write_json(temporary, [*others, model | ids])


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(encode_nonfinite(value), indent=1, sort_keys=True, allow_nan=False) + "\n")


def _load(path: Path) -> np.ndarray:
    """Return an array, memory-mapped first: numpy then refuses a header that promises more than the file has."""
    if not path.is_file():
        raise ValueError(f"{path.name} is missing, or not a file")
    return np.array(np.load(path, mmap_mode="r", allow_pickle=False))


def save_weights(path: Path, weights: Mapping[str, np.ndarray]) -> None:
    """Write arrays by path (`hidden_1/kernel` …). The slash becomes a dot, since it names a file in the archive."""
    with open(path, "wb") as file:
        np.savez(file, allow_pickle=False, **{name.replace("/", "."): array for name, array in weights.items()})


def _load_weights(path: Path) -> dict[str, np.ndarray]:
    with open(path, "rb") as file:  # if numpy opened it, a damaged archive would stay open
        with zipfile.ZipFile(file) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
                raise ValueError("its weights unpack to more than their file holds")
        file.seek(0)
        with np.load(file, allow_pickle=False) as weights:
            return {name.replace(".", "/"): np.asarray(weights[name]) for name in weights.files}
