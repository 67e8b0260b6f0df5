"""Run folders: a written run is read back as it was, and an incomplete or damaged one is refused."""

import math
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.files import LOCK
from pipeline.storage.store import DamagedRun, RunStore
from pipeline.training.result import DIVERGED
from tests.support.factory import KEY, OTHER, make_job, seeded, stored


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def test_a_run_comes_back_as_it_was(store: RunStore) -> None:
    store.write(stored())
    assert store.read(KEY).record() == stored().record()


def test_a_diverged_run_keeps_its_nan(store: RunStore) -> None:
    history = {"train/loss": [1.0, math.inf, -math.inf, math.nan]}
    job = make_job("adam", epochs=4)
    diverged = stored(status=DIVERGED, job=job, metrics={}, history=history, weights=None, predictions=None)
    store.write(diverged)
    assert store.read(diverged.key).history["train/loss"][:3] == [1.0, math.inf, -math.inf]
    assert math.isnan(store.read(diverged.key).history["train/loss"][3])


def test_keys_are_the_runs_that_are_here(store: RunStore) -> None:
    assert store.keys() == []
    store.write(stored())
    store.write(seeded(1))
    assert store.keys() == sorted([KEY, OTHER])
    assert KEY in store
    assert "0" * 64 not in store
    assert [run.key for run in store] == store.keys()


def test_what_cannot_be_written_leaves_the_old_run(store: RunStore) -> None:
    store.write(stored())
    with pytest.raises(TypeError):
        store.write(stored(metrics={"test/accuracy": object()}))
    assert store.read(KEY).metrics == stored().metrics
    assert sorted(entry.name for entry in store.root.iterdir()) == [LOCK, KEY]


@pytest.mark.fault("stored result damaged")
@pytest.mark.parametrize("name", ["result.json", "predictions.npy", "probabilities.npy", "weights.npz"])
@pytest.mark.parametrize("left", [0, -20], ids=["emptied", "cut"])
def test_damage_is_found(store: RunStore, name: str, left: int) -> None:
    path = store.write(stored()) / name
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(DamagedRun, match=r"damaged \(.+\); the command that trained it trains it again"):
        store.read(KEY)


@pytest.mark.fault("stored result damaged")
def test_weights_of_another_training_are_found(store: RunStore) -> None:
    np.savez(store.write(stored()) / "weights.npz", **{"hidden_1.kernel": np.zeros(3)})
    with pytest.raises(DamagedRun, match="its weights do not match their digest"):
        store.read(KEY)


def ids(run: str, place: str) -> dict[str, str]:
    return {"run_id": run, "store": place}


def test_each_store_of_tracking_has_its_own_ids(store: RunStore) -> None:
    store.write(stored())
    for run, place in [("a", "mlflow.db"), ("b", "http://host"), ("c", "mlflow.db")]:
        store.note_published(KEY, ids(run, place))
    assert store.published_ids(KEY) == [ids("b", "http://host"), ids("c", "mlflow.db")]
    assert store.published(KEY) == ids("c", "mlflow.db")
    assert store.published(KEY, "http://host") == ids("b", "http://host")
    assert store.published(KEY, "http://other") == {}
