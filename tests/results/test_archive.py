"""A sweep in one file: what goes in comes out, and nothing that was not put in does."""

from __future__ import annotations

import dataclasses
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.job import digest
from pipeline.errors import UserError
from pipeline.results.archive import DamagedBundle, pack, unpack
from pipeline.results.store import RunStore
from pipeline.results.sweep import Sweep
from tests.results.conftest import KEYS
from tests.results.test_store import result

SWEEP = Sweep("which", KEYS, KEYS[1], [], "parent", 12.5, id="i" * 64)


@pytest.fixture
def bundle(store: RunStore, tmp_path: Path) -> Path:
    picture = tmp_path / "gap.png"
    picture.write_bytes(b"\x89PNG")
    path = tmp_path / "sweep.zip"
    pack(SWEEP, store, {"figures/gap.png": picture}, path)
    return path


@pytest.fixture
def other(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "elsewhere" / "runs")


def test_runs_come_out_as_they_were(store: RunStore, bundle: Path, other: RunStore) -> None:
    sweep, new, report = unpack(bundle, other)
    assert (sweep.keys, sweep.winner, sweep.parent_run_id, new) == (KEYS, KEYS[1], None, 3)
    assert report == {"figures/gap.png": b"\x89PNG"}
    for key in KEYS:
        assert other.read(key).record() == store.read(key).record()
        assert (other.read(key).predictions == store.read(key).predictions).all()


def test_a_second_time_nothing_is_new(bundle: Path, other: RunStore) -> None:
    unpack(bundle, other)
    assert unpack(bundle, other)[1] == 0


def test_the_same_sweep_makes_the_same_file(store: RunStore, bundle: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.zip"
    pack(SWEEP, store, {"figures/gap.png": tmp_path / "gap.png"}, again)
    assert again.read_bytes() == bundle.read_bytes()


def test_ids_in_mlflow_stay_at_home(store: RunStore, tmp_path: Path) -> None:
    store.note_published(KEYS[0], {"run_id": "r" * 32})
    pack(SWEEP, store, {}, tmp_path / "sweep.zip")
    with zipfile.ZipFile(tmp_path / "sweep.zip") as archive:
        assert not [name for name in archive.namelist() if "published" in name]


def test_runs_that_are_replaced_meanwhile_are_packed_as_they_are_then(
    store: RunStore, other: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, replaced = zipfile.ZipFile.writestr, []

    def meanwhile(archive: zipfile.ZipFile, *words: Any) -> None:
        if not replaced:
            replaced.append(True)
            for key in KEYS:
                store.write(result(key=key, figures={"best/val_accuracy": 0.25}))
        write(archive, *words)

    monkeypatch.setattr(zipfile.ZipFile, "writestr", meanwhile)
    pack(SWEEP, store, {}, tmp_path / "sweep.zip")
    assert unpack(tmp_path / "sweep.zip", other)[1] == 3


def rewrite(path: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    change(content)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def index(content: dict[str, bytes], change: Callable[[dict[str, object]], None]) -> None:
    plain = json.loads(content["bundle.json"])
    change(plain)
    content["bundle.json"] = json.dumps(plain).encode()


RECORD = f"runs/{KEYS[0]}/result.json"
ATTACKS: dict[str, Callable[[dict[str, bytes]], None]] = {
    "a path that escapes": lambda content: content.update({"../../evil": b"x"}),
    "an absolute path": lambda content: content.update({"/tmp/evil": b"x"}),
    "a member that is not listed": lambda content: content.update({f"runs/{KEYS[0]}/more.npy": b"x"}),
    "an escape that is listed": lambda content: index(
        content,
        lambda plain: plain["members"].update({"runs/../../evil": {"sha256": "", "size": 1}}),  # type: ignore[attr-defined]
    ),
    "a changed record": lambda content: content.update({RECORD: content[RECORD].replace(b"0.9", b"0.8")}),
    "a member that is gone": lambda content: content.pop(RECORD) and None,
    "a size that is a lie": lambda content: index(
        content,
        lambda plain: plain["members"][RECORD].update({"size": 3}),  # type: ignore[index]
    ),
    "a size over all bounds": lambda content: index(
        content,
        lambda plain: plain["members"][RECORD].update({"size": 2**40}),  # type: ignore[index]
    ),
    "a key that is none": lambda content: index(content, lambda plain: plain["sweep"].update({"keys": ["../x"]})),  # type: ignore[attr-defined]
    "a run that is not in it": lambda content: index(
        content,
        lambda plain: plain["sweep"]["keys"].append(digest("d")),  # type: ignore[index]
    ),
    "another format": lambda content: index(content, lambda plain: plain.update({"format": 99})),
    "no list": lambda content: content.pop("bundle.json") and None,
    "a list that is none": lambda content: content.update({"bundle.json": b"[]"}),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_is_taken_from_a_file_that_is_not_as_it_was_made(bundle: Path, other: RunStore, attack: str) -> None:
    rewrite(bundle, ATTACKS[attack])
    before = set(bundle.parent.rglob("*"))
    with pytest.raises(DamagedBundle):
        unpack(bundle, other)
    assert set(bundle.parent.rglob("*")) == before


@pytest.mark.parametrize("length", [0, 1, 100, 1000])
def test_a_file_that_is_cut_short_is_no_bundle(bundle: Path, other: RunStore, length: int) -> None:
    bundle.write_bytes(bundle.read_bytes()[:length])
    with pytest.raises(DamagedBundle):
        unpack(bundle, other)
    assert not other.root.exists()


def test_a_damaged_run_is_not_packed(store: RunStore, tmp_path: Path) -> None:
    (store.folder(KEYS[0]) / "predictions.npy").write_bytes(b"")
    with pytest.raises(Exception, match="damaged"):
        pack(SWEEP, store, {}, tmp_path / "sweep.zip")
    assert not (tmp_path / "sweep.zip").exists()


def test_a_run_that_is_here_with_other_bits_is_said(bundle: Path, other: RunStore) -> None:
    """Of another machine, say: the key is the same, and a store holds one result of a key."""
    theirs = result(key=KEYS[0])
    theirs.digests = {**theirs.digests, "final_weights": "0" * 64}
    other.write(dataclasses.replace(theirs, weights=None))
    with pytest.raises(UserError, match=r"1 of its 3 runs are here with other bits, such as .*add runs=FOLDER"):
        unpack(bundle, other)
    assert other.keys() == [KEYS[0]]


def test_a_sweep_whose_runs_are_gone_is_not_packed(store: RunStore, tmp_path: Path) -> None:
    shutil.rmtree(store.folder(KEYS[2]))
    with pytest.raises(UserError, match="1 of its 3 runs are gone"):
        pack(SWEEP, store, {}, tmp_path / "sweep.zip")
    assert not (tmp_path / "sweep.zip").exists()
