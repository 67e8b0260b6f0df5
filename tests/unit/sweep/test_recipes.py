"""Recipes as runs, with as many seeds as there is time for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.statistics.published import Row
from pipeline.storage.store import RunStore
from pipeline.sweep import recipes
from tests.unit.training.command import as_before


@pytest.fixture(autouse=True)
def _hydra_as_before() -> Iterator[None]:
    with as_before():
        yield


def test_seeds_are_as_many_as_there_is_time_for(
    processed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(recipes, "sweep_seconds", lambda new, each: 10.0 * len(new))
    row = Row("x", "source", ("experiment=book", "dataset=digits"), "test accuracy", low=0, high=1)
    store = RunStore(tmp_path / "runs")
    some = recipes.planned(row, str(processed), 10)
    assert [one.job.seed for one in some] == list(range(10))
    assert recipes.affordable(some, 10, 1000, store) == (10, 100.0)
    assert recipes.affordable(some, 10, 55, store) == (5, 50.0)
    assert recipes.affordable(some, 10, 25, store) == (0, 30.0)
