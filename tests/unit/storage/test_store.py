"""Run folders: what is written comes back, and what is not whole is not taken for a run."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.cli.errors import UserError
from pipeline.config.digests import array_digest, arrays_digest
from pipeline.storage.identity import key_of
from pipeline.storage.locks import LOCK
from pipeline.storage.store import DamagedRun, RunStore
from pipeline.training.result import DIVERGED, FINISHED, Result
from tests.unit.training.factory import make_job


def result(**changes: object) -> Result:
    """A finished run under the key of what it is made of, unless another is given."""
    weights = {"hidden_1/kernel": np.arange(6.0).reshape(2, 3), "classes/bias": np.zeros(3, np.float32)}
    predictions = np.array([3, 1, 2], np.uint8)
    whole = Result(
        key="",
        job=make_job("adam", hidden=[300, 100], epochs=2),
        status=FINISHED,
        history={"train/loss": [0.5, 0.25], "val/accuracy": [0.1, 1 / 3]},
        figures={"test/accuracy": 0.9, "time/train_s": 0.1},
        digests={"final_weights": arrays_digest(weights), "predictions": array_digest(predictions)},
        identity={"data": "d" * 64, "source": "5" * 64, "numerics": {"backend": "tensorflow", "xla": True}},
        environment={"python": "3.11"},
        started="2026-02-03T04:05:06.000+00:00",
        predictions=predictions,
        probabilities=np.eye(3, dtype=np.float32),
        weights=weights,
    )
    made = replace(whole, **changes)  # type: ignore[arg-type]
    if "history" not in changes:
        made.history = {name: values[: made.job.training.epochs] for name, values in made.history.items()}
    return made if made.key else replace(made, key=key_of(made.job, made.identity))


def seeded(seed: int, **changes: object) -> Result:
    return result(job=make_job("adam", hidden=[300, 100], epochs=2, seed=seed), **changes)


KEY = result().key
OTHER = seeded(1).key


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def test_a_run_comes_back_as_it_was(store: RunStore) -> None:
    store.write(result())
    assert store.read(KEY).record() == result().record()


@pytest.mark.parametrize("name", ["predictions", "probabilities"])
def test_its_arrays_come_back(store: RunStore, name: str) -> None:
    store.write(result())
    read, written = getattr(store.read(KEY), name), getattr(result(), name)
    assert read.dtype == written.dtype
    assert np.array_equal(read, written)


def test_its_weights_come_back(store: RunStore) -> None:
    store.write(result())
    weights = store.read(KEY).weights
    assert weights is not None
    assert arrays_digest(weights) == result().digests["final_weights"]


def test_without_arrays_there_are_none(store: RunStore) -> None:
    store.write(result(status=DIVERGED, weights=None, probabilities=None, predictions=None, digests={}))
    read = store.read(KEY)
    assert (read.weights, read.probabilities, read.predictions) == (None, None, None)


def test_a_diverged_run_keeps_its_nan(store: RunStore) -> None:
    history = {"train/loss": [1.0, math.inf, -math.inf, math.nan]}
    job = make_job("adam", epochs=4)
    diverged = result(status=DIVERGED, job=job, figures={}, history=history, weights=None, predictions=None)
    store.write(diverged)
    assert store.read(diverged.key).history["train/loss"][:3] == [1.0, math.inf, -math.inf]
    assert math.isnan(store.read(diverged.key).history["train/loss"][3])


def test_the_record_is_json_that_any_reader_takes(store: RunStore) -> None:
    store.write(result(history={"train/loss": [math.nan]}))
    assert json.loads((store.folder(KEY) / "result.json").read_text(), parse_constant=pytest.fail)


def test_keys_are_the_runs_that_are_here(store: RunStore) -> None:
    assert store.keys() == []
    store.write(result())
    store.write(seeded(1))
    assert store.keys() == sorted([KEY, OTHER])
    assert KEY in store
    assert "0" * 64 not in store
    assert [run.key for run in store] == store.keys()


def test_what_is_no_run_is_no_key(store: RunStore) -> None:
    store.write(result())
    shutil.copytree(store.folder(KEY), store.root / f".{KEY}.123")
    (store.root / "notes").mkdir()
    (store.root / ("f" * 64)).mkdir()
    assert store.keys() == [KEY]


def test_a_run_that_is_not_here_is_a_key_error(store: RunStore) -> None:
    with pytest.raises(KeyError):
        store.read(KEY)


def test_writing_again_replaces(store: RunStore) -> None:
    store.write(result())
    store.write(result(figures={"test/accuracy": 0.5}, weights=None))
    assert store.read(KEY).figures == {"test/accuracy": 0.5}
    assert store.read(KEY).weights is None


def test_writing_leaves_nothing_else_behind(store: RunStore) -> None:
    for _ in range(2):
        store.write(result())
    assert sorted(entry.name for entry in store.root.iterdir()) == [LOCK, KEY]


def test_what_cannot_be_written_leaves_the_old_run(store: RunStore) -> None:
    store.write(result())
    with pytest.raises(TypeError):
        store.write(result(figures={"test/accuracy": object()}))
    assert store.read(KEY).figures == result().figures
    assert sorted(entry.name for entry in store.root.iterdir()) == [LOCK, KEY]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def other_weights(path: Path) -> None:
    """An archive that is whole, with a number in it that is another."""
    with np.load(path) as archive:
        arrays = {name: archive[name] + 1 for name in archive.files}
    np.savez(path, allow_pickle=False, **arrays)


def empty(path: Path) -> None:
    path.write_bytes(b"")


DAMAGE = [(name, spoil) for name in ("result.json", "predictions.npy") for spoil in (cut, flip, empty)]


@pytest.mark.fault("stored result damaged")
@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        *DAMAGE,
        ("weights.npz", empty),
        ("probabilities.npy", cut),
        ("probabilities.npy", empty),
        ("weights.npz", cut),
        ("weights.npz", other_weights),
        ("probabilities.npy", flip),
    ],
)
def test_damage_is_found(store: RunStore, name: str, spoil: Callable[[Path], None]) -> None:
    store.write(result())
    spoil(store.folder(KEY) / name)
    with pytest.raises(DamagedRun, match=r"damaged \(.+\); the command that trained it trains it again"):
        store.read(KEY)


@pytest.mark.fault("stored result damaged")
def test_figures_cannot_be_changed_by_hand(store: RunStore) -> None:
    store.write(result())
    path = store.folder(KEY) / "result.json"
    path.write_text(path.read_text().replace("0.9", "0.99"))
    with pytest.raises(DamagedRun):
        store.read(KEY)


def test_a_run_under_another_name_is_not_that_run(store: RunStore) -> None:
    store.write(result())
    store.folder(KEY).rename(store.folder(OTHER))
    with pytest.raises(DamagedRun):
        store.read(OTHER)


def test_weights_can_be_dropped(store: RunStore) -> None:
    store.write(result())
    store.drop_weights(KEY)
    store.drop_weights(KEY)
    assert store.read(KEY).weights is None
    assert store.read(KEY).predictions is not None


def test_ids_of_tracking_stand_beside_the_result(store: RunStore) -> None:
    store.write(result())
    assert store.published(KEY) == {}
    store.note_published(KEY, {"run_id": "abc"})
    assert store.published(KEY) == {"run_id": "abc"}
    assert store.read(KEY).record() == result().record()


def ids(run: str, place: str) -> dict[str, str]:
    return {"run_id": run, "store": place}


def test_each_store_of_tracking_has_its_own_ids(store: RunStore) -> None:
    store.write(result())
    for run, place in [("a", "mlflow.db"), ("b", "http://host"), ("c", "mlflow.db")]:
        store.note_published(KEY, ids(run, place))
    assert store.everywhere(KEY) == [ids("b", "http://host"), ids("c", "mlflow.db")]
    assert store.published(KEY) == ids("c", "mlflow.db")
    assert store.published(KEY, "http://host") == ids("b", "http://host")
    assert store.published(KEY, "http://other") == {}


def test_ids_from_before_stores_were_named_may_be_of_any(store: RunStore) -> None:
    store.write(result())
    (store.folder(KEY) / "published.json").write_text('{"run_id": "a", "experiment_id": "1"}')
    assert store.published(KEY, "mlflow.db")["run_id"] == "a"
    store.note_published(KEY, ids("b", "http://host"))
    assert [one["run_id"] for one in store.everywhere(KEY)] == ["a", "b"]
    store.note_published(KEY, ids("a", "mlflow.db"))
    assert store.everywhere(KEY) == [ids("b", "http://host"), ids("a", "mlflow.db")]


def test_a_damaged_note_of_tracking_counts_as_none(store: RunStore) -> None:
    store.write(result())
    (store.folder(KEY) / "published.json").write_text("{")
    assert store.published(KEY) == {}


def test_a_damaged_run_is_something_a_person_can_mend() -> None:
    assert issubclass(DamagedRun, UserError)
