import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.cli.errors import UserError
from pipeline.data import files
from pipeline.data.files import atomic_write


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "file"
    with atomic_write(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert names(path.parent) == ["file"]


def test_a_folder_replaces_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    for content in ("old", "new"):
        with atomic_write(path) as temporary:
            temporary.mkdir()
            (temporary / content).touch()
    assert names(path) == ["new"]
    assert names(tmp_path) == ["folder"]


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old").touch()
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.suffix == ".part":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(UserError, match="No space left"), atomic_write(path) as temporary:
        temporary.mkdir()
    assert names(path) == ["old"]
    assert names(tmp_path) == ["folder"]


@pytest.mark.fault("disk full")
def test_a_file_where_a_folder_belongs_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    refused = pytest.raises(UserError, match=r"x: cannot be written \(File exists: .*taken\)")
    with refused, atomic_write(tmp_path / "taken/x"):
        pass


@pytest.mark.fault("disk full")
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        refused = pytest.raises(UserError, match=r"array.npy: cannot be written \(File too large\)")
        with refused, atomic_write(tmp_path / "array.npy") as temporary:
            files.save(temporary, np.zeros(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == []


def test_leftovers_of_the_dead_go_and_work_of_the_living_stays(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    living = os.getppid()
    for name in (f".a.{dead.pid}.part", f".b.{living}.part", f"c.{dead.pid}.part", ".gitignore", f".{2**70}.part"):
        (tmp_path / name).touch()
    (tmp_path / f".d.{dead.pid}.old").mkdir()
    files.clear_leftovers(tmp_path)
    assert names(tmp_path) == sorted([".gitignore", f".b.{living}.part", f"c.{dead.pid}.part", f".{2**70}.part"])
