"""An unusable store is refused with the command that repairs it, and is left unchanged."""

import shlex
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli.errors import UserError
from pipeline.tracking import ParentRun, TrackingUnavailable, open_tracker
from pipeline.tracking.database import check


def execute(database: Path, statement: str) -> None:
    connection = sqlite3.connect(database)
    connection.execute(statement)
    connection.commit()
    connection.close()


def halved(database: Path) -> None:
    database.write_bytes(database.read_bytes()[: database.stat().st_size // 2])


def bad_header(database: Path) -> None:
    database.write_bytes(b"garbage!" + database.read_bytes()[8:])


def folder(database: Path) -> None:
    database.unlink()
    database.mkdir()


def other_program(database: Path) -> None:
    database.unlink()
    execute(database, "CREATE TABLE songs (title TEXT)")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda database: database.write_bytes(b""),
    "half": halved,
    "header": bad_header,
    "folder": folder,
    "another program's": other_program,
    "half migrated": lambda database: execute(database, "DELETE FROM alembic_version"),
}


@pytest.fixture
def root(tmp_path: Path, blank_store: Path) -> Path:
    folder = tmp_path / "it's a project"
    folder.mkdir()
    shutil.copy(blank_store, folder / "mlflow.db")
    return folder


@pytest.mark.fault("SQLite damaged")
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_refused_at_once_with_the_command_that_mends_it(root: Path, damage: str) -> None:
    DAMAGES[damage](root / "mlflow.db")
    with pytest.raises(UserError, match=r"^.*mlflow\.db: not a complete MLflow database [^\n]*$") as refused:
        open_tracker("sqlite", root=root)
    command = str(refused.value).rpartition("with: ")[2].partition(" (a new")[0]
    assert shlex.split(command)[0] == "mv"
    assert (root / "mlflow.db").exists(), "it stays as it is"
    subprocess.run(command, shell=True, check=True)
    open_tracker("sqlite", root=root)
    assert not (root / "mlflow.db").exists()


@pytest.mark.fault("SQLite damaged")
def test_another_schema_is_named_by_mlflow_in_one_line(root: Path) -> None:
    execute(root / "mlflow.db", "UPDATE alembic_version SET version_num = 'feedfeedfeed'")
    with pytest.raises(TrackingUnavailable, match=r"^[^\n]*schema[^\n]*feedfeedfeed[^\n]*db upgrade[^\n]*$"):
        open_tracker("sqlite", root=root).begin(ParentRun("e", "n", {}))


def test_damage_between_opening_and_use_is_refused_too(root: Path) -> None:
    tracker = open_tracker("sqlite", root=root)
    (root / "mlflow.db").write_bytes(b"")
    tracker.warm().join()
    with pytest.raises(UserError, match="not a complete MLflow database"):
        tracker.begin(ParentRun("e", "n", {}))


@pytest.mark.fault("store held by another program")
def test_a_store_that_is_held_for_long_is_not_called_damaged(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.tracking.database.LOCKED_SECONDS", 0.1)
    connection = sqlite3.connect(root / "mlflow.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    with pytest.raises(TrackingUnavailable, match="nothing is wrong with it") as refused:
        open_tracker("sqlite", root=root)
    assert (refused.value.exit_status, "mv " in str(refused.value)) == (5, False)
    connection.close()
    assert open_tracker("sqlite", root=root).begin(ParentRun("e", "n", {}))


@pytest.mark.fault("store gone")
def test_a_store_that_is_deleted_in_the_middle_is_missed(root: Path) -> None:
    tracker = open_tracker("sqlite", root=root)
    tracker.begin(ParentRun("e", "n", {}))
    (root / "mlflow.db").unlink()
    with pytest.raises(TrackingUnavailable, match=r"mlflow\.db was deleted .* pipeline\.publish$"):
        tracker.begin(ParentRun("e", "n", {}))
    assert not (root / "mlflow.db").exists()


def test_a_place_that_cannot_be_written_to_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="not a folder that this user may write to"):
        open_tracker("sqlite", root=root / "mlflow.db")
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(UserError, match="tracking=none trains without it"):
        open_tracker("sqlite", root=root)


def test_store_that_could_not_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.store.db import utils

    def full(engine: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(utils, "_upgrade_db", full)
    with pytest.raises(TrackingUnavailable, match="disk full"):
        open_tracker("sqlite", root=tmp_path).close_stale()
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db.lock"]


def test_journal_of_a_killed_writer_is_rolled_back(root: Path, tmp_path: Path) -> None:
    """A hot journal: the database file is half-written until SQLite opens it and rolls the journal back."""
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
