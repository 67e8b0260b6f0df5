"""Run folders with a changed record whose digests and key are made to match."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline.config.digests import array_digest
from pipeline.config.run_config import digest
from pipeline.storage.store import PREDICTIONS, RECORD, RunStore
from pipeline.training.result import RunResult


def forge(
    store: RunStore, run: RunResult, change: Callable[[dict[str, Any]], Any], array: np.ndarray | None = None
) -> str:
    """Write `run` with `change` applied to its record and `array` as its predictions; return its new key."""
    folder = store.write(run)
    stored = json.loads((folder / RECORD).read_text())
    record = stored["record"]
    if array is not None:
        np.save(folder / PREDICTIONS, array)
        record["digests"]["predictions"] = array_digest(array)
    change(record)
    record["key"] = key = digest({"job": record["job"], **record["identity"]})
    stored["sha256"] = digest(record)
    (folder / RECORD).write_text(json.dumps(stored))
    return folder.rename(store.root / key).name
