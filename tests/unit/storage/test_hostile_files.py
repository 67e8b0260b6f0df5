"""Run folders that an attacker or a faulty disk changed are refused, in bounded memory, and reach no other folder."""

import io
import json
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cli.errors import UserError
from pipeline.config.digests import array_digest
from pipeline.config.run_config import digest
from pipeline.storage.record import UnreadableRun
from pipeline.storage.store import RECORD, DamagedRun, RunStore
from pipeline.storage.sweeps import Sweep
from pipeline.training.result import RunResult
from tests.support.factory import KEY, stored

ENOUGH = 8 * 2**20
"""Most bytes of memory for reading a run of a few kilobytes, whatever sizes its files announce."""

any_speed = settings(deadline=None, database=None, max_examples=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a stored run. Tests that change its files restore them."""
    store = RunStore(tmp_path_factory.mktemp("runs"))
    environment = {"python": "3.11", "patch": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}
    store.write(stored(patch=b"test", environment=environment))
    return store.folder(KEY)


def content(run: RunResult) -> dict[str, Any]:
    """Return everything that a run holds, with digests in place of arrays."""
    arrays = {"predictions": run.predictions, "probabilities": run.probabilities, **(run.weights or {})}
    named = {name: array_digest(array) for name, array in arrays.items() if array is not None}
    return {**run.record(), "arrays": named, "patch": run.patch.hex()}


def peak(read: Callable[[], Any]) -> int:
    """Return the peak memory of `read` in bytes. It may raise only errors that a user can fix."""
    tracemalloc.start()
    try:
        read()
    except UserError:
        pass
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return most


# --- a run folder


FILES = [RECORD, "predictions.npy", "probabilities.npy", "weights.npz", "uncommitted.diff"]


@pytest.mark.fault("stored result damaged")
@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_found_or_does_not_matter(folder: Path, name: str) -> None:
    """Flips one bit at a time, at places all over the file."""
    store, path = RunStore(folder.parent), folder / name
    sound, whole = path.read_bytes(), content(store.read(KEY))
    found = 0
    try:
        for position in range(0, len(sound), max(1, len(sound) // 150)):
            spoilt = bytearray(sound)
            spoilt[position] ^= 1 << position % 8
            path.write_bytes(spoilt)
            try:
                assert content(store.read(KEY)) == whole, f"{name}: byte {position}"
            except DamagedRun:
                found += 1
    finally:
        path.write_bytes(sound)
    assert found


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just({"float": "nan"}),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.fault("stored result damaged")
@any_speed
@given(st.data())
def test_a_record_with_a_right_digest_and_wrong_values_is_refused_in_words(folder: Path, data: st.DataObject) -> None:
    """No faulty disk makes such a record, but a person can."""
    store, path = RunStore(folder.parent), folder / RECORD
    sound = path.read_bytes()
    stored = json.loads(sound)
    name = data.draw(st.sampled_from(sorted(stored["record"])))
    stored["record"][name] = data.draw(plain)
    try:
        stored["sha256"] = digest(stored["record"])
    except ValueError:
        return  # an infinity has no digest
    try:
        path.write_text(json.dumps(stored))
        try:
            read = store.read(KEY)
        except UnreadableRun:
            return
        assert read.key == KEY
    finally:
        path.write_bytes(sound)


def header_of(shape: tuple[int, ...], dtype: str = "|u1") -> bytes:
    made = io.BytesIO()
    np.lib.format.write_array_header_1_0(made, {"descr": dtype, "fortran_order": False, "shape": shape})
    return made.getvalue()


class Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.sentinel,)


def pickled(sentinel: Path) -> bytes:
    made = io.BytesIO()
    np.save(made, np.array([Evil(sentinel)], object), allow_pickle=True)
    return made.getvalue()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return made.getvalue()


BOMB = header_of((2**28,)) + bytes(2**22)
HOSTILE: dict[str, tuple[str, Callable[[Path], bytes]]] = {
    "predictions that are pickled": ("predictions.npy", pickled),
    "weights that are pickled": ("weights.npz", lambda sentinel: zipped({"hidden_1.kernel.npy": pickled(sentinel)})),
    "a member that is no array": ("weights.npz", lambda _: zipped({"evil.py": b"raise SystemExit"})),
    "a terabyte announced": ("predictions.npy", lambda _: header_of((2**40,)) + bytes(3)),
    "a negative shape": ("predictions.npy", lambda _: header_of((-3,)) + bytes(3)),
    "a header that is no literal": (
        "predictions.npy",
        lambda sentinel: b"\x93NUMPY\x01\x00\x76\x00" + f"open({str(sentinel)!r}, 'w')".encode().ljust(117) + b"\n",
    ),
    "weights that unpack to much more": ("weights.npz", lambda _: zipped({"a.npy": BOMB}, zipfile.ZIP_DEFLATED)),
    "a record without end": (RECORD, lambda _: b"[" * 200_000),
}


@pytest.mark.fault("hostile input")
@pytest.mark.parametrize("attack", HOSTILE)
def test_a_hostile_run_folder_is_refused_in_bounded_memory(folder: Path, tmp_path: Path, attack: str) -> None:
    name, make = HOSTILE[attack]
    sentinel = tmp_path / "sentinel"
    store = RunStore(tmp_path / "runs")
    shutil.copytree(folder, store.folder(KEY))
    (store.folder(KEY) / name).write_bytes(make(sentinel))
    with pytest.raises(DamagedRun):
        store.read(KEY)
    assert peak(lambda: store.read(KEY)) < ENOUGH
    assert not sentinel.exists()


@pytest.mark.fault("hostile input")
@pytest.mark.parametrize("key", ["../x", "", "/tmp", "a" * 63 + "/", KEY.upper(), f"{KEY}\n"])
def test_what_is_no_key_names_no_folder(tmp_path: Path, folder: Path, key: str) -> None:
    shutil.copytree(folder, tmp_path / "x")
    store = RunStore(tmp_path / "runs")
    store.root.mkdir()
    assert key not in store
    with pytest.raises(KeyError):
        store.read(key)
    with pytest.raises(KeyError):
        store.write(replace(stored(), key=key))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["runs", "x"]
    assert list(store.root.iterdir()) == []


RECORDS: dict[str, dict[str, Any]] = {
    "a key above": {"keys": ["../x"]},
    "a key that is a number": {"keys": [3]},
    "an id above": {"id": "../../../x"},
    "a name that is none": {"name": None},
    "no words of what was lost": {"lost": [{"name": 1, "status": "failed", "reason": "", "command": ""}]},
}


@pytest.mark.fault("hostile input")
@pytest.mark.parametrize("record", RECORDS)
def test_a_hostile_record_of_a_sweep_is_refused(tmp_path: Path, folder: Path, record: str) -> None:
    shutil.copytree(folder, tmp_path / "x")
    made = asdict(Sweep("which", [KEY])) | RECORDS[record]
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "sweep.json").write_text(json.dumps(made))
    with pytest.raises(UserError, match=r"sweep\.json: not the record of a sweep"):
        Sweep.read(tmp_path / "results")
