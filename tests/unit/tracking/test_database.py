"""A store that cannot be used is refused with the command that mends it, and stays as it is."""

from __future__ import annotations

import shlex
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.cli.errors import UserError
from pipeline.tracking import ParentRun, StoreDamaged, TrackingUnavailable, open_tracker
from pipeline.tracking.database import _schema, check


def execute(database: Path, *statements: str) -> None:
    connection = sqlite3.connect(database)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def emptied(database: Path) -> None:
    database.write_bytes(b"")


def halved(database: Path) -> None:
    database.write_bytes(database.read_bytes()[: database.stat().st_size // 2])


def bad_header(database: Path) -> None:
    database.write_bytes(b"garbage!" + database.read_bytes()[8:])


def flipped(database: Path) -> None:
    content = bytearray(database.read_bytes())
    content[4096 * 3 : 4096 * 3 + 100] = b"\xff" * 100
    database.write_bytes(content)


def text_file(database: Path) -> None:
    database.write_text("hello")


def folder(database: Path) -> None:
    database.unlink()
    database.mkdir()


def other_program(database: Path) -> None:
    database.unlink()
    execute(database, "CREATE TABLE songs (title TEXT)")


def half_migrated(database: Path) -> None:
    execute(database, "DELETE FROM alembic_version")


def half_migrated_at(database: Path) -> None:
    execute(database, f"UPDATE alembic_version SET version_num = '{sorted(_schema()[0] - {_schema()[1]})[0]}'")


def newer_schema(database: Path) -> None:
    execute(database, "UPDATE alembic_version SET version_num = 'feedfeedfeed'")


DAMAGES = [
    emptied,
    halved,
    bad_header,
    flipped,
    text_file,
    folder,
    other_program,
    half_migrated,
    half_migrated_at,
    newer_schema,
]


@pytest.fixture
def root(tmp_path: Path, blank_store: Path) -> Path:
    folder = tmp_path / "it's a project"
    folder.mkdir()
    shutil.copy(blank_store, folder / "mlflow.db")
    return folder


@pytest.mark.fault("SQLite damaged")
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_refused_at_once_with_the_command_that_mends_it(root: Path, damage: Callable[[Path], None]) -> None:
    damage(root / "mlflow.db")
    with pytest.raises(StoreDamaged, match=r"^.*mlflow\.db: [^\n]*$") as refused:
        open_tracker("sqlite", root=root)
    command = str(refused.value).rpartition("with: ")[2].partition(" (a new")[0]
    assert shlex.split(command)[0] in ("mv", "rm")
    assert (root / "mlflow.db").exists(), "it stays as it is"
    subprocess.run(command, shell=True, check=True)
    open_tracker("sqlite", root=root)
    assert not (root / "mlflow.db").exists()


def test_damage_between_opening_and_use_is_refused_too(root: Path) -> None:
    tracker = open_tracker("sqlite", root=root)
    emptied(root / "mlflow.db")
    with pytest.raises(StoreDamaged, match="0 bytes"):
        tracker.begin(ParentRun("e", "n", {}))


@pytest.mark.fault("SQLite damaged")
def test_older_schema_with_runs_is_to_be_upgraded(root: Path) -> None:
    half_migrated_at(root / "mlflow.db")
    execute(root / "mlflow.db", "INSERT INTO runs (run_uuid) VALUES ('a')")
    with pytest.raises(StoreDamaged, match=r"keep a copy, then: .+ -m mlflow db upgrade '?sqlite:///"):
        open_tracker("sqlite", root=root)


@pytest.fixture
def held(root: Path) -> Iterator[sqlite3.Connection]:
    """Another program in the middle of a write."""
    connection = sqlite3.connect(root / "mlflow.db", isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN EXCLUSIVE")
    yield connection
    connection.close()


@pytest.mark.fault("store held by another program")
def test_a_store_that_another_program_holds_is_waited_for(
    root: Path, held: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipeline.tracking.database.BRIEF_SECONDS", 0.05)
    freed = threading.Timer(0.5, held.execute, ["ROLLBACK"])
    freed.start()
    open_tracker("sqlite", root=root)
    freed.join()
    said = capsys.readouterr().err
    assert said == f"{root}/mlflow.db: another program holds it; waiting up to 120 s\n"


@pytest.mark.fault("store held by another program")
def test_a_store_that_is_held_for_long_is_not_called_damaged(
    root: Path, held: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.tracking.database.LOCK_SECONDS", 0.1)
    with pytest.raises(TrackingUnavailable, match="nothing is wrong with it") as refused:
        open_tracker("sqlite", root=root)
    assert (refused.value.exit_status, "mv " in str(refused.value)) == (5, False)


@pytest.mark.fault("store held by another program")
def test_a_store_that_is_held_in_the_middle_is_waited_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.tracking.database.LOCK_SECONDS", 0.3)
    tracker = open_tracker("sqlite", root=root)
    tracker.begin(ParentRun("e", "n", {}))
    other = sqlite3.connect(root / "mlflow.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(TrackingUnavailable, match="another program holds it"):
        tracker.begin(ParentRun("e", "n", {}))
    other.close()
    assert tracker.begin(ParentRun("e", "n", {}))


@pytest.mark.fault("store gone")
@pytest.mark.parametrize("again", [False, True])
def test_a_store_that_is_deleted_in_the_middle_is_missed(root: Path, blank_store: Path, again: bool) -> None:
    tracker = open_tracker("sqlite", root=root)
    tracker.begin(ParentRun("e", "n", {}))
    (root / "mlflow.db").rename(root / "away")
    if again:
        shutil.copy(blank_store, root / "mlflow.db")
    with pytest.raises(TrackingUnavailable, match=r"mlflow\.db (is gone|was replaced) .* pipeline\.publish$"):
        tracker.begin(ParentRun("e", "n", {}))
    assert (root / "mlflow.db").exists() == again


@pytest.mark.fault("store gone")
def test_a_link_to_a_store_that_is_away_is_left_alone(root: Path) -> None:
    (root / "mlflow.db").rename(root / "elsewhere.db")
    (root / "mlflow.db").symlink_to(root / "away" / "mlflow.db")
    with pytest.raises(UserError, match=r"a link to .*/away/mlflow\.db, which is not there"):
        open_tracker("sqlite", root=root)
    assert (root / "mlflow.db").is_symlink()
    (root / "mlflow.db").unlink()
    (root / "mlflow.db").symlink_to(root / "elsewhere.db")
    assert open_tracker("sqlite", root=root).begin(ParentRun("e", "n", {}))


def test_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="not a folder that this user may write to"):
        open_tracker("sqlite", root=tmp_path / "file")


def test_store_that_could_not_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.store.db import utils

    def full(engine: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(utils, "_upgrade_db", full)
    with pytest.raises(TrackingUnavailable, match="disk full"):
        open_tracker("sqlite", root=tmp_path).close_stale()
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db.lock"]


def test_journal_of_a_killed_writer_is_rolled_back(root: Path, tmp_path: Path) -> None:
    """A hot journal: the file alone is half-written, and sound again once SQLite has looked at it."""
    database = root / "mlflow.db"
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("CREATE TABLE filler (words TEXT)")
    for _ in range(200):
        connection.execute("INSERT INTO filler VALUES (?)", ("x" * 4000,))
    killed = tmp_path / "killed"
    killed.mkdir()
    for file in (database, root / "mlflow.db-journal"):
        shutil.copy(file, killed / file.name)
    connection.rollback()
    connection.close()
    check(killed / "mlflow.db")
    assert (killed / "mlflow.db").read_bytes() == database.read_bytes()


def test_newest_schema_is_read_without_importing_mlflow() -> None:
    from mlflow.store.db.utils import _get_latest_schema_revision

    known, head = _schema()
    assert head == _get_latest_schema_revision()
    assert len(known) > 60


def test_folder_that_may_not_be_written_to_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(UserError, match="tracking=none trains without it"):
        open_tracker("sqlite", root=root)
