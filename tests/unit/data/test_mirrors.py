import gzip
import re
import tracemalloc
from pathlib import Path

import pytest

from pipeline.cli.errors import DataUnavailable, UserError
from pipeline.data import mirrors, sources
from pipeline.data.files import display_path
from pipeline.data.mirrors import Folder, Https, Mirror
from tests.unit.data import loopback, tiny
from tests.unit.data.loopback import Server

MNIST = sources.find("mnist")
FIRST = tiny.FILES[0].name


def folder(path: Path, files: dict[str, bytes]) -> Folder:
    path.mkdir(exist_ok=True)
    for name, data in files.items():
        (path / name).write_bytes(data)
    return Folder(path)


def read_from_first(*places: Mirror) -> tuple[Mirror, dict[str, bytes]]:
    mirror, packed = mirrors.read_from_first(tiny.TINY, tiny.FILES, places)
    return mirror, {file.name: data for file, data in packed.items()}


def refused(*places: Mirror) -> str:
    with pytest.raises(DataUnavailable) as raised:
        read_from_first(*places)
    return str(raised.value)


def test_first_folder_that_is_whole(tmp_path: Path) -> None:
    missing = Folder(tmp_path / "nowhere")
    partial = folder(tmp_path / "partial", {FIRST: tiny.PACKED[FIRST]})
    complete = folder(tmp_path / "whole", tiny.PACKED)
    assert read_from_first(missing, partial, complete, Folder(tmp_path / "never asked")) == (complete, tiny.PACKED)


@pytest.mark.fault("bombs and trailing bytes")
@pytest.mark.parametrize(
    ("data", "note"),
    [
        (b"<html>", "not a valid gzip file"),
        (tiny.PACKED[FIRST] + b"x", "follow the end"),
        (gzip.compress(bytes(tiny.FILES[0].max_unpacked_bytes)), "sha256 of the unpacked file is"),
        (gzip.compress(bytes(10_000_000)), "unpacks to more than"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_wrong_bytes_in_a_folder(tmp_path: Path, data: bytes, note: str) -> None:
    message = refused(folder(tmp_path, tiny.PACKED | {FIRST: data}))
    assert note in message
    assert FIRST in message


@pytest.mark.fault("bombs and trailing bytes")
def test_a_huge_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    mirror = folder(tmp_path, tiny.PACKED)
    with open(tmp_path / FIRST, "wb") as file:
        file.truncate(200_000_000)  # takes no space on disk
    tracemalloc.start()
    try:
        assert "larger than" in refused(mirror)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.fault("mirrors misbehave")
@pytest.mark.parametrize(
    ("answer", "note"),
    [(loopback.cut_without_length, "ends early"), (loopback.status(404), "returns HTTP status 404")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_next_mirror_is_asked_and_the_note_says_why(
    server: Server, tmp_path: Path, answer: loopback.Answer, note: str
) -> None:
    server.answer = answer
    bad = Https(server.url)
    failing = folder(tmp_path / "partial", {})
    assert re.search(rf"{server.url}: {FIRST}:? .*({note}).*partial: {FIRST} is missing", refused(bad, failing))
    complete = folder(tmp_path / "whole", tiny.PACKED)
    server.answer = loopback.status(404)
    assert read_from_first(bad, complete) == (complete, tiny.PACKED)


@pytest.mark.fault("no network")
def test_the_message_is_one_paragraph_with_all_that_is_needed(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailable) as raised:
        mirrors.read_from_first(MNIST, MNIST.files, [Folder(tmp_path / "a"), Https("https://me:secret@127.0.0.1:1/x")])
    message = str(raised.value)
    assert "\n" not in message
    assert "secret" not in message
    assert f"{display_path(tmp_path / 'a')}: no such folder" in message
    assert (
        "https://***@127.0.0.1:1/x: train-images-idx3-ubyte.gz cannot be downloaded ([Errno 111] Connection refused)"
        in message
    )
    for file in MNIST.files:
        assert f"{file.name} {file.sha256}" in message
    for word in ("mirrors=FOLDER", "OVERFITTING_GAP_MIRRORS", "dataset=digits", "1,797"):
        assert word in message
    assert raised.value.exit_status == 4


# --- which mirrors are used


def addresses(environment: dict[str, str], checkout: Path, named: str = "") -> list[Path | str]:
    found = mirrors.find_mirrors(MNIST, checkout, environment, named)
    return [mirror.path if isinstance(mirror, Folder) else mirror.address for mirror in found]


def test_a_queued_experiment_looks_in_the_real_checkout(tmp_path: Path) -> None:
    root, clone = tmp_path / "checkout", tmp_path / "checkout" / ".dvc" / "tmp" / "exps" / "clone"
    assert addresses({"DVC_ROOT": str(root)}, clone) == [
        root / "data" / "raw" / "mnist",
        tmp_path / "shared" / "mnist",
        *MNIST.source.mirrors,
    ]


def test_named_mirrors_replace_the_known_ones(tmp_path: Path) -> None:
    named = "https://a.example/mnist, /b,c d"
    expected = ["https://a.example/mnist", Path("/b"), tmp_path / "c d"]
    assert addresses({}, tmp_path, named) == expected
    assert addresses({"OVERFITTING_GAP_MIRRORS": named}, tmp_path) == expected
    assert addresses({"OVERFITTING_GAP_MIRRORS": "/else"}, tmp_path, named) == expected


@pytest.mark.parametrize("word", ["http://example.org/mnist", "https://[", "file:///x"])
def test_other_addresses_are_refused_with_the_key_that_set_them(tmp_path: Path, word: str) -> None:
    with pytest.raises(UserError, match=r"^mirrors=.*expected folders and https://"):
        addresses({}, tmp_path, word)
    with pytest.raises(UserError, match=r"^OVERFITTING_GAP_MIRRORS="):
        addresses({"OVERFITTING_GAP_MIRRORS": word}, tmp_path)
