"""Which store is meant, and what of its address is shown."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli.console import PROJECT
from pipeline.cli.errors import UserError
from pipeline.tracking import ParentRun, open_tracker
from pipeline.tracking.address import conceal, redact, resolve

SECRET = "postgresql://ada:pa%3Ass@db.example:5432/runs?sslpassword=hidden"


def test_default_is_a_file_in_the_project() -> None:
    assert resolve("sqlite", None, None, {}).uri == f"sqlite:///{PROJECT}/mlflow.db"


def test_temporary_clone_of_dvc_uses_the_project_it_was_cloned_from(tmp_path: Path) -> None:
    assert resolve("sqlite", None, None, {"DVC_ROOT": str(tmp_path)}).database == tmp_path / "mlflow.db"


@pytest.mark.parametrize("kind", ["sqlite", "server"])
def test_environment_wins_over_configuration(kind: str) -> None:
    assert (
        resolve(kind, "http://configured", None, {"MLFLOW_TRACKING_URI": "http://inherited"}).uri == "http://inherited"
    )


def test_relative_file_in_the_environment_is_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve("sqlite", None, None, {"MLFLOW_TRACKING_URI": "sqlite:///a.db"}).database == tmp_path / "a.db"


def test_relative_file_in_the_configuration_is_relative_to_the_project(tmp_path: Path) -> None:
    assert resolve("sqlite", "sqlite:///a.db", tmp_path, {}).database == tmp_path / "a.db"


def test_none_stays_none_whatever_the_environment_says() -> None:
    assert resolve("none", None, None, {"MLFLOW_TRACKING_URI": "http://inherited"}).uri == ""


def test_server_decides_where_its_files_are() -> None:
    assert resolve("server", "https://host", None, {}).artifacts is None


def test_database_keeps_files_in_the_project(tmp_path: Path) -> None:
    assert resolve("server", SECRET, tmp_path, {}).artifacts == tmp_path / "mlartifacts"


def test_server_without_an_address_says_how_to_give_one() -> None:
    with pytest.raises(UserError, match=r"tracking\.uri=http://HOST:PORT or MLFLOW_TRACKING_URI"):
        resolve("server", None, None, {})


def test_misspelt_kind_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'sqlite'"):
        resolve("sqlight", None, None, {})


@pytest.mark.parametrize("uri", ["./mlruns", "file:///mlruns", "/abs/mlruns", "ftp://host", "databricks"])
def test_other_stores_are_refused(uri: str) -> None:
    with pytest.raises(UserError, match="expected sqlite:////absolute"):
        resolve("sqlite", uri, None, {})


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://ada:secret@host:5000/path", "http://***@host:5000/path"),
        ("http://token@host", "http://***@host"),
        ("http://host:5000", "http://host:5000"),
        ("http://ada:se@cret@host/", "http://***@host/"),
        ("http://host/?key=secret", "http://host/?***"),
        ("sqlite:////a b/mlflow.db", "sqlite:////a b/mlflow.db"),
        (SECRET, "postgresql://***@db.example:5432/runs?***"),
    ],
)
def test_secrets_are_not_shown(uri: str, shown: str) -> None:
    assert redact(uri) == shown


@pytest.mark.parametrize("secret", [SECRET, "pa%3Ass", "pa:ss", "ada:pa%3Ass", "hidden"])
def test_message_of_a_library_is_cleared_of_secrets(secret: str) -> None:
    assert secret not in conceal(f"cannot reach {secret}: {SECRET} refused", SECRET)


def test_null_tracker_has_the_same_words_and_does_nothing(tmp_path: Path) -> None:
    tracker = open_tracker("none", root=tmp_path)
    tracker.warm().join()
    parent = tracker.begin(ParentRun("e", "n", {}, "sweep"))
    tracker.end(parent, "FINISHED")
    tracker.log_metrics(parent, {"a": 1.0})
    tracker.set_tags(parent, {})
    tracker.set_note(parent, "")
    tracker.add_files(parent, {})
    assert (tracker.address.uri, parent, tracker.close_stale(), list(tmp_path.iterdir())) == ("", "", [], [])


def test_importing_and_opening_is_light(tmp_path: Path) -> None:
    sqlite = f"open_tracker('sqlite', root=Path({str(tmp_path)!r}))"
    opened = f"open_tracker('none'); {sqlite}; open_tracker('server', 'http://h')"
    unwanted = "{'mlflow', 'sqlalchemy', 'pandas', 'numpy', 'keras', 'tensorflow'}"
    imports = "import sys; from pathlib import Path; from pipeline.tracking import open_tracker"
    code = f"{imports}; {opened}; print({unwanted} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()", shlex.join(ran.args)


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("", "mlflow.db"),
        ("sqlite:////elsewhere/a.db", "/elsewhere/a.db"),
        ("http://ada:secret@host:5000/", "http://***@host:5000"),
    ],
)
def test_a_store_has_a_name_without_secrets(uri: str, name: str) -> None:
    assert resolve("sqlite", uri, None, {}).name == name
