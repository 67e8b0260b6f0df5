"""A store with three runs in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.storage.store import RunStore
from tests.support.factory import seeded

RUNS = sorted((seeded(seed) for seed in range(3)), key=lambda run: run.key, reverse=True)
KEYS = [run.key for run in RUNS]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    store = RunStore(tmp_path / "runs")
    for run in RUNS:
        store.write(run)
    return store
