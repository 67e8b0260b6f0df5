"""Run folders: `<root>/<key>/` with `result.json`, `predictions.npy`, and `weights.npz` where kept.

A folder is written under a temporary name and renamed when it is whole, so a name that looks like a key is a whole run.
Reading checks the content against the digests inside all the same, because disks and people err.
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
"""Where tracking notes the ids it gave the run; beside the result, since it is no part of it."""

KEY = re.compile("[0-9a-f]{64}")
"""What a key looks like; nothing else becomes the name of a folder."""

AGAIN = "the command that trained it trains it again"

LARGEST_RECORD = 2**28
"""Bytes of a `result.json`: that of 10,000 epochs has 3 million."""


class RunStore:
    """The folder of run folders."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def folder(self, key: str) -> Path:
        """Where the run `key` is, or would be. KeyError for what is no key: it could name any place."""
        if not KEY.fullmatch(key):
            raise KeyError(key)
        return self.root / key

    def keys(self) -> list[str]:
        """Keys of all runs here, sorted."""
        if not self.root.is_dir():
            return []
        return sorted(entry.name for entry in self.root.iterdir() if entry.name in self)

    def __contains__(self, key: str) -> bool:
        return bool(KEY.fullmatch(key)) and (self.root / key / RECORD).is_file()

    def __iter__(self) -> Iterator[RunResult]:
        for key in self.keys():
            yield self.read(key)

    def write(self, result: RunResult) -> Path:
        """Put `result` on disk, whole or not at all; replaces an earlier run of the same key.

        Raises UserError where the disk is full or the folder may not be written to.
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
        """Every run without its arrays, but for those that are damaged."""
        for key in self.keys():
            with suppress(UnreadableRun):
                yield self.record(key)

    def status(self, key: str) -> str:
        """What became of the run, unchecked; empty where its record cannot be read."""
        try:
            return str(self._stored(key)["record"]["status"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return ""

    def record(self, key: str) -> RunResult:
        """The run `key` without its arrays, checked. Raises DamagedRun, or OtherRelease."""
        with self._found_damaged(key):
            return result_of(self._stored(key), key)

    def _stored(self, key: str) -> Any:
        return json.loads(read_bytes(self.folder(key) / RECORD, LARGEST_RECORD))

    def read(self, key: str) -> RunResult:
        """The run `key`, checked against its digests. Raises DamagedRun, or KeyError where there is none."""
        try:
            return self._read(key)
        except (KeyError, DamagedRun):
            if not ((self.root / LOCK).exists() and os.access(self.root, os.W_OK)):  # nobody writes here
                raise
        with locked(self.root):  # another process may have been replacing it
            return self._read(key)

    def _read(self, key: str) -> RunResult:
        folder = self.folder(key)
        if key not in self:
            raise KeyError(key)

        def check(name: str, found: object, noted: object) -> None:
            if found != noted:
                raise ValueError(f"its {name} do not match their digest")

        with self._found_damaged(key):
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
    def _found_damaged(self, key: str) -> Iterator[None]:
        """Turn what reading a damaged file raises into DamagedRun; say of another release's run where it is."""
        try:
            yield
        except OtherRelease as error:
            raise OtherRelease(error.unknown, self.folder(key)) from error
        except Exception as error:  # numpy and zipfile raise whatever a header leads them to
            raise DamagedRun(f"{self.folder(key)}: damaged ({type(error).__name__}: {error}); {AGAIN}") from error

    def drop_weights(self, key: str) -> None:
        """Forget weights and probabilities; the figures and the predictions stay."""
        for name in (WEIGHTS, PROBABILITIES):
            (self.folder(key) / name).unlink(missing_ok=True)

    def published(self, key: str, store: str | None = None) -> dict[str, str]:
        """Ids that a tracking store gave the run (`run_id`, `experiment_id`, `parent_run_id`, `store`), or {}.

        Of the store that took it last, or of the one named `store`.
        """
        noted = [ids for ids in self.published_ids(key) if store in (None, ids.get("store"))]
        return noted[-1] if noted else {}

    def published_ids(self, key: str) -> list[dict[str, str]]:
        """The ids that each store gave the run, the last one to take it at the end."""
        try:
            noted = json.loads(read_bytes(self.folder(key) / PUBLISHED, LARGEST_RECORD))
        except (OSError, ValueError, RecursionError):
            return []
        return [
            {name: value for name, value in ids.items() if isinstance(value, str) and value.isprintable()}
            for ids in (noted if isinstance(noted, list) else [noted])
            if isinstance(ids, dict)
        ]

    def note_published(self, key: str, ids: dict[str, str]) -> None:
        """Keep the ids that the store `ids["store"]` gave the run, in place of its earlier ones.

        Where it is the same run of MLflow, it still has the `model` that it had.
        """
        with locked(self.root):
            if not self.folder(key).is_dir():
                raise UserError(f"{self.folder(key)}: no run here any more; {AGAIN}")
            before = self.published(key, ids.get("store")).get("model")
            model = {"model": before} if before and before == ids["run_id"] else {}
            others = [other for other in self.published_ids(key) if other.get("store") != ids.get("store")]
            with atomic_write(self.folder(key) / PUBLISHED) as temporary:
                _write_json(temporary, [*others, model | ids])


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(encode_nonfinite(value), indent=1, sort_keys=True, allow_nan=False) + "\n")


def _load(path: Path) -> np.ndarray:
    """An array, mapped first: numpy refuses a header that announces more than the file holds, and nothing is unpickled."""
    if not path.is_file():
        raise ValueError(f"{path.name} is missing, or no file")
    return np.array(np.load(path, mmap_mode="r", allow_pickle=False))


def save_weights(path: Path, weights: Mapping[str, np.ndarray]) -> None:
    """Arrays by path (`hidden_1/kernel` …), which is written with a dot: it is the name of a file within the archive."""
    with open(path, "wb") as file:
        np.savez(file, allow_pickle=False, **{name.replace("/", "."): array for name, array in weights.items()})


def _load_weights(path: Path) -> dict[str, np.ndarray]:
    with open(path, "rb") as file:  # numpy leaves a file open that it opens itself, where the archive is damaged
        with zipfile.ZipFile(file) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
                raise ValueError("its weights unpack to more than their file holds")
        file.seek(0)
        with np.load(file, allow_pickle=False) as weights:
            return {name.replace(".", "/"): np.asarray(weights[name]) for name in weights.files}
