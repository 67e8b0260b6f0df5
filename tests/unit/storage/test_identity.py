"""The key of a run: what changes it and what does not."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.run_config import RunConfig, digest
from pipeline.models.devices import Device
from pipeline.storage.identity import DECIDING, identity, key_of, source_digest, sources
from tests.support.factory import make_job

CPU = Device("cpu", "tensorflow", "float32", True, "engine", workers=2, stack=1)
DATA = digest("data")


def key(job: RunConfig | None = None, device: Device = CPU, data: str = DATA) -> str:
    return key_of(job or make_job(), identity(data, device.numerics()))


KEY = key()


JOB = make_job("adam")


@pytest.mark.parametrize("section", ["dataset", "model", "optimizer", "training"])
def test_every_part_of_a_job_is_in_the_key(section: str) -> None:
    """Whatever it holds, a field that is added later included."""
    part = getattr(JOB, section)
    changed = [replace(JOB, **{section: replace(part, **{field.name: ()})}) for field in dataclasses.fields(part)]
    assert len({key(JOB), *map(key, changed)}) == 1 + len(changed)


def test_the_seed_is_in_the_key() -> None:
    assert key(make_job(seed=1)) != KEY


@pytest.mark.parametrize("changes", [{"hidden": [8]}, {"learning_rate": 0.01}, {"dropout": 0}], ids=str)
def test_another_way_to_write_a_job_is_not(changes: dict[str, Any]) -> None:
    assert key(make_job(**changes)) == KEY


def test_the_data_is_in_the_key() -> None:
    assert key(data=digest("other data")) != KEY


@pytest.mark.parametrize(
    "changes",
    [{"kind": "gpu"}, {"precision": "float64"}, {"xla": False}, {"trainer": "reference"}, {"stack": 4}],
    ids=str,
)
def test_the_numerics_are_in_the_key(changes: dict[str, Any]) -> None:
    assert key(device=replace(CPU, **changes)) != KEY


@pytest.mark.parametrize("name", ["backend_version", "keras_version"])
def test_the_versions_are_in_the_key(name: str) -> None:
    made_of = identity(DATA, CPU.numerics() | {name: "0.0"})
    assert key_of(make_job(), made_of) != KEY


def test_the_number_of_workers_is_not() -> None:
    assert key(device=replace(CPU, workers=16)) == KEY


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
