"""A store with three runs in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.job import digest
from pipeline.results.store import RunStore
from tests.results.test_store import result

KEYS = [digest(name) for name in ("b", "a", "c")]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    store = RunStore(tmp_path / "runs")
    for key in KEYS:
        store.write(result(key=key))
    return store
