"""A sweep's record, and the folder that DVC keeps of a stage."""

import json
from pathlib import Path

import pytest

from pipeline.cli.errors import UserError
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import Lost, Sweep, write_results
from tests.support.factory import seeded

KEYS = sorted((seeded(seed).key for seed in range(3)), reverse=True)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    store = RunStore(tmp_path / "runs")
    for seed in range(3):
        store.write(seeded(seed))
    return store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results" / "sweep"


def test_a_record_comes_back(folder: Path) -> None:
    lost = [Lost("sgd-w8-d1-s0", "diverged", "loss is nan", "python -m pipeline.train seed=0")]
    sweep = Sweep("which", KEYS, KEYS[1], lost, "parent")
    sweep.write(folder)
    assert Sweep.read(folder) == sweep
    record = folder / "sweep.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"workers": 2}))
    assert Sweep.read(folder) == sweep, "also if another release noted more"


@pytest.mark.parametrize(
    "content", [None, "", "{", "[]", "{}", '{"name": "a", "keys": [], "lost": [1]}', '{"lost": []}']
)
def test_what_is_no_record_is_said(folder: Path, content: str | None) -> None:
    folder.mkdir(parents=True)
    if content is not None:
        (folder / "sweep.json").write_text(content)
    with pytest.raises(UserError, match="train again to write it"):
        Sweep.read(folder)


def test_write_results_has_the_runs_in_the_order_of_the_jobs(store: RunStore, folder: Path) -> None:
    write_results(store, Sweep("which", KEYS), folder)
    assert Sweep.read(folder).keys == KEYS
    assert RunStore(folder).keys() == sorted(KEYS)


def test_write_results_removes_what_is_no_longer_asked_for(store: RunStore, folder: Path) -> None:
    write_results(store, Sweep("which", KEYS), folder)
    write_results(store, Sweep("which", KEYS[:1]), folder)
    assert {entry.name for entry in folder.iterdir()} == {KEYS[0], "sweep.json"}
