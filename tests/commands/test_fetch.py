import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import fetch as stage
from pipeline.cli.console import PROJECT
from pipeline.cli.errors import UserError
from pipeline.data.files import display_path
from pipeline.data.mirrors import Folder
from pipeline.data.raw import read
from pipeline.data.sources import DataSet, File, Table, find
from tests.unit.data import tiny

FIRST = tiny.FILES[0].name


def run(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline.fetch", *map(str, words)]
    return subprocess.run(command, cwd=PROJECT, env=os.environ | environment, capture_output=True, text=True)


@pytest.fixture
def mirror(tmp_path: Path) -> Folder:
    (tmp_path / "mirror").mkdir()
    for name, data in tiny.PACKED.items():
        (tmp_path / "mirror" / name).write_bytes(data)
    return Folder(tmp_path / "mirror")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "raw"


def test_four_files_and_nothing_else(mirror: Folder, raw: Path) -> None:
    fetched = stage.fetch(tiny.TINY, raw, [mirror])
    assert fetched.source == mirror.address
    assert fetched.size == sum(map(len, tiny.PACKED.values()))
    assert {path.name: path.read_bytes() for path in raw.iterdir()} == tiny.PACKED


@pytest.mark.fault("no network")
def test_what_is_whole_is_not_fetched_again(mirror: Folder, raw: Path) -> None:
    stage.fetch(tiny.TINY, raw, [mirror])
    times = {path: path.stat().st_mtime_ns for path in raw.iterdir()}
    again = stage.fetch(tiny.TINY, raw, [])  # no mirrors to ask
    assert again.source == ""
    assert len(again.kept) == 4
    assert times == {path: path.stat().st_mtime_ns for path in raw.iterdir()}


@pytest.mark.parametrize(
    "damage",
    [b"", b"nonsense", tiny.PACKED[FIRST][:-1], tiny.UNPACKED[FIRST]],
    ids=["empty", "nonsense", "cut", "unpacked"],
)
def test_a_damaged_file_is_replaced(mirror: Folder, raw: Path, damage: bytes) -> None:
    stage.fetch(tiny.TINY, raw, [mirror])
    (raw / FIRST).write_bytes(damage)
    fetched = stage.fetch(tiny.TINY, raw, [mirror])
    assert [file.name for file in fetched.replaced] == [FIRST]
    assert len(fetched.kept) == 3
    assert (raw / FIRST).read_bytes() == tiny.PACKED[FIRST]


# Files without a declared digest

OWN = DataSet("own", Table(File("own.csv"), "class", test_share=0.5))
ROWS = "number,class\n1,a\n2,b\n3,a\n4,b\n"


@pytest.fixture
def own(tmp_path: Path) -> Folder:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own.csv").write_text(ROWS)
    return Folder(tmp_path / "mine")


def test_a_digest_is_recorded_at_first_and_held_from_then_on(own: Folder, raw: Path) -> None:
    assert [file.name for file in stage.fetch(OWN, raw, [own]).recorded] == ["own.csv"]
    assert stage.fetch(OWN, raw, [own]).recorded == ()
    (own.path / "own.csv").write_text(ROWS.replace("1", "9"))
    with pytest.raises(UserError) as raised:
        stage.fetch(OWN, raw, [own])
    assert str(raised.value).startswith(f"own.csv in {own.address} differs from the file fetched before")
    assert str(raised.value).endswith(f"To fetch it again: rm -r {display_path(raw)}, then the same command")
    assert (raw / "own.csv").read_text() == ROWS
    shutil.rmtree(raw)
    stage.fetch(OWN, raw, [own])
    assert (raw / "own.csv").read_text() == ROWS.replace("1", "9")


def test_a_file_that_is_no_data_set_is_not_recorded(own: Folder, raw: Path) -> None:
    (own.path / "own.csv").write_text(ROWS.replace("1", ""))
    with pytest.raises(UserError, match=r"mine/own\.csv: column 'number', row 1: the value is missing"):
        stage.fetch(OWN, raw, [own])
    assert not raw.exists()


def test_damage_to_a_recorded_file_is_found_and_mended(own: Folder, raw: Path) -> None:
    stage.fetch(OWN, raw, [own])
    (raw / "own.csv").write_text(ROWS.replace("1", "9"))
    with pytest.raises(UserError, match=r"own\.csv: sha256 is .* expected .* python -m pipeline\.fetch dataset=own"):
        read(OWN, raw)
    assert len(stage.fetch(OWN, raw, [own]).replaced) == 1
    assert read(OWN, raw).shape == (1,)


def test_files_put_into_the_folder_by_hand_are_recorded_too(own: Folder) -> None:
    with pytest.raises(
        UserError, match=r"without a recorded digest\. To record them: python -m pipeline\.fetch dataset=own"
    ):
        read(OWN, own.path)
    assert len(stage.fetch(OWN, own.path, []).recorded) == 1
    assert read(OWN, own.path).classes == ("a", "b")


def test_own_files_that_are_nowhere_are_a_mistake(own: Folder, raw: Path) -> None:
    """The exit status is 2: after 4, `make run` would continue with the digits."""
    (own.path / "own.csv").unlink()
    with pytest.raises(UserError, match=r"own\.csv is missing.* Or set source\.path in conf") as refused:
        stage.fetch(OWN, raw, [own])
    assert refused.value.exit_status == 2


# The command as a user types it


def test_mnist_from_a_folder(mnist_folder: Path, raw: Path) -> None:
    done = run(f"raw={raw}", OVERFITTING_GAP_MIRRORS=str(mnist_folder))
    assert (done.returncode, done.stderr) == (0, "")
    there = f"mnist: 4 files in {display_path(raw / 'mnist')}, 11.59 MB: 4"
    assert done.stdout.startswith(f"{there} from {Folder(mnist_folder).address}, sha256 verified (")
    for file in find("mnist").files:
        assert (raw / "mnist" / file.name).read_bytes() == (mnist_folder / file.name).read_bytes()
    again = run(f"raw={raw}", "mirrors=/nowhere")
    assert again.stdout.startswith(f"{there} kept, sha256 verified (")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "dataset=mnits",
            "dataset=mnits: expected one of digits, emnist_letters, fashion_mnist, kmnist, mnist (did you mean 'mnist'?)",
        ),
        ("datset=mnist", "datset=mnist: expected KEY=VALUE with one of the keys dataset, raw, mirrors"),
        ("mnist", "mnist: expected KEY=VALUE"),
        ("mirrors=http://example.org", "mirrors=http://example.org: expected folders and https:// addresses"),
    ],
)
def test_wrong_words_are_named(word: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        stage.main([word])
    assert str(refused.value).startswith(message)
