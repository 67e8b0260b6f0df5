"""The key of a run: what changes it and what does not."""

from __future__ import annotations

import dataclasses
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.job import Job, digest
from pipeline.models.devices import Device, choose
from pipeline.storage.identity import DECIDING, PROJECT, environment, identity, key_of, source_digest, sources
from tests.unit.training.factory import make_job

CPU = Device("cpu", "tensorflow", "float32", True, "engine", workers=2, stack=1)
DATA = digest("data")


def key(job: Job | None = None, device: Device = CPU, data: str = DATA) -> str:
    return key_of(job or make_job(), identity(data, device.numerics()))


KEY = key()


def test_a_key_is_a_sha256() -> None:
    assert re.fullmatch("[0-9a-f]{64}", KEY)


DECIDES = [
        {"optimizer": "nesterov"},
        {"learning_rate": 0.02},
        {"weight_decay": 0.0},
        {"momentum": 0.5},
        {"width": 9},
        {"depth": 2},
        {"activation": "tanh"},
        {"dropout": 0.1},
        {"kernel_initializer": "he_normal"},
        {"epochs": 2},
        {"batch_size": 99},
        {"loss": "mean_squared_error"},
        {"curve_samples": 10},
        {"validation_size": 101},
        {"seed": 1},
        {"train_size": 500},
        {"input_dropout": 0.1},
        {"batch_normalization": True},
        {"max_norm": 2.0},
        {"decay": 0.5, "decay_epochs": 1},
        {"decay_epochs": 1},
        {"patience": 2},
]  # fmt: skip


def test_nothing_of_a_job_is_forgotten_here() -> None:
    """A field that is added to Job asks for a line above."""
    told = {name for changes in DECIDES for name in changes} | {"name", "hyperparameters", "hidden"}
    job = make_job()
    fields = {
        f.name for part in (job.dataset, job.model, job.optimizer, job.training) for f in dataclasses.fields(part)
    }
    assert fields <= told


@pytest.mark.parametrize("changes", DECIDES, ids=str)
def test_every_part_of_a_job_is_in_the_key(changes: dict[str, Any]) -> None:
    assert key(make_job(**changes)) != KEY


@pytest.mark.parametrize("changes", [{"hidden": [8]}, {"learning_rate": 0.01}, {"dropout": 0}], ids=str)
def test_another_way_to_write_a_job_is_not(changes: dict[str, Any]) -> None:
    assert key(make_job(**changes)) == KEY


def test_the_order_of_hyperparameters_is_not() -> None:
    optimizer = make_job("adam").optimizer
    turned = replace(optimizer, hyperparameters=optimizer.hyperparameters[::-1])
    assert key(replace(make_job("adam"), optimizer=turned)) == key(make_job("adam"))


def test_the_data_is_in_the_key() -> None:
    assert key(data=digest("other data")) != KEY


@pytest.mark.parametrize(
    "changes",
    [{"kind": "gpu"}, {"precision": "float64"}, {"xla": False}, {"trainer": "reference"}, {"stack": 4}],
    ids=str,
)
def test_the_numerics_are_in_the_key(changes: dict[str, Any]) -> None:
    assert key(device=replace(CPU, **changes)) != KEY


def test_the_backend_is_in_the_key() -> None:
    assert key(device=replace(CPU, backend="jax")) != KEY


@pytest.mark.parametrize("name", ["backend_version", "keras_version"])
def test_the_versions_are_in_the_key(name: str) -> None:
    made_of = identity(DATA, CPU.numerics() | {name: "0.0"})
    assert key_of(make_job(), made_of) != KEY


def test_the_number_of_workers_is_not() -> None:
    assert key(device=replace(CPU, workers=16)) == KEY


def test_auto_is_what_it_comes_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    auto, cpu = (choose(kind, "tensorflow", "float32", True, "engine", 0, 0) for kind in ("auto", "cpu"))
    assert key(device=auto) == key(device=cpu)


# --- the source


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for room in (*DECIDING, "report"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "code.py").write_text(f"# {room}\n")
    return tmp_path


def digest_of(package: Path) -> str:
    sources.cache_clear()
    return source_digest(package)


@pytest.mark.parametrize("room", DECIDING)
def test_the_source_that_decides_numbers_is_in_the_digest(package: Path, room: str) -> None:
    before = digest_of(package)
    (package / room / "code.py").write_text("# changed\n")
    assert digest_of(package) != before


@pytest.mark.parametrize("change", ["report/code.py", "models/notes.txt", "batch.py", "models/code.pyc"])
def test_all_else_is_not(package: Path, change: str) -> None:
    before = digest_of(package)
    (package / change).write_text("# changed\n")
    assert digest_of(package) == before


def test_a_new_file_a_lost_one_and_a_new_name_are(package: Path) -> None:
    digests = [digest_of(package)]
    (package / "data" / "more.py").write_text("")
    digests.append(digest_of(package))
    (package / "data" / "more.py").rename(package / "data" / "other.py")
    digests.append(digest_of(package))
    assert len(set(digests)) == 3


def test_the_digest_does_not_know_where_the_checkout_is(
    package: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("else where") / "copy"
    shutil.copytree(package, elsewhere)
    assert digest_of(elsewhere) == digest_of(package)


def test_a_file_edited_meanwhile_changes_neither_the_digest_nor_the_list(package: Path) -> None:
    """The key is made before a run trains, its record after."""
    before = source_digest(package)
    (package / "training" / "code.py").write_text("# edited while a run trains\n")
    assert source_digest(package) == digest(sources(package)) == before


def test_the_rooms_that_decide_are_there() -> None:
    assert all((PROJECT / "pipeline" / room).is_dir() for room in DECIDING)


def test_the_environment_explains_and_holds_only_text() -> None:
    known = environment()
    assert {"python", "platform", "machine", "command", "keras", "tensorflow", "lock"} <= set(known)
    assert all(isinstance(value, str) for value in known.values())
