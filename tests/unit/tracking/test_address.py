"""Choosing the store, and hiding secrets in its address."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli.console import PROJECT
from pipeline.cli.errors import UserError
from pipeline.tracking import ParentRun, open_tracker
from pipeline.tracking.address import conceal, redact, resolve

SECRET = "https://ada:pa%3Ass@db.example:5432/runs?token=hidden"


@pytest.mark.parametrize(
    ("kind", "uri", "environment", "expected"),
    [
        ("sqlite", None, {}, f"sqlite:///{PROJECT}/mlflow.db"),
        # In a temporary clone made by DVC.
        ("sqlite", None, {"DVC_ROOT": "/repository"}, "sqlite:////repository/mlflow.db"),
        ("sqlite", "http://configured", {"MLFLOW_TRACKING_URI": "http://inherited"}, "http://inherited"),
        ("server", "http://configured", {"MLFLOW_TRACKING_URI": "http://inherited"}, "http://inherited"),
        ("none", None, {"MLFLOW_TRACKING_URI": "http://inherited"}, ""),
    ],
)
def test_where_it_is(kind: str, uri: str | None, environment: dict[str, str], expected: str) -> None:
    assert resolve(kind, uri, None, environment).uri == expected


def test_relative_file_is_in_the_project_or_where_the_variable_was_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resolve("sqlite", "sqlite:///a.db", tmp_path, {}).database == tmp_path / "a.db"
    monkeypatch.chdir(tmp_path)
    assert resolve("sqlite", None, None, {"MLFLOW_TRACKING_URI": "sqlite:///a.db"}).database == tmp_path / "a.db"


@pytest.mark.parametrize(
    ("kind", "uri", "why"),
    [
        ("server", None, "no address; set MLFLOW_TRACKING_URI=http://HOST:PORT"),
        ("sqlight", None, "did you mean 'sqlite'"),
        *(
            ("sqlite", uri, f"^{uri}: expected sqlite:////absolute")
            for uri in ("./mlruns", "file:///mlruns", "ftp://host")
        ),
    ],
)
def test_what_is_no_store_is_refused(kind: str, uri: str | None, why: str) -> None:
    with pytest.raises(UserError, match=why):
        resolve(kind, uri, None, {})


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://ada:secret@host:5000/path", "http://***@host:5000/path"),
        ("http://token@host", "http://***@host"),
        ("http://host:5000", "http://host:5000"),
        ("http://ada:se@cret@host/", "http://***@host/"),
        ("http://host/?key=secret", "http://host/?***"),
        ("sqlite:////a b/mlflow.db", "sqlite:////a b/mlflow.db"),
    ],
)
def test_secrets_are_not_shown(uri: str, shown: str) -> None:
    assert redact(uri) == shown


@pytest.mark.parametrize("secret", [SECRET, "pa%3Ass", "pa:ss", "ada:pa%3Ass", "hidden"])
def test_message_of_a_library_is_cleared_of_secrets(secret: str) -> None:
    assert secret not in conceal(f"cannot reach {secret}: {SECRET} refused", SECRET)


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


def test_without_tracking_what_a_sweep_tells_is_dropped(tmp_path: Path) -> None:
    tracker = open_tracker("none", root=tmp_path)
    tracker.warm()
    parent = tracker.begin(ParentRun("e", "n", {}, "sweep"))
    tracker.set_tags(parent, {})
    tracker.end(parent, "FINISHED")
    assert (parent, tracker.recorded("0" * 64), list(tmp_path.iterdir())) == ("", None, [])


def test_importing_and_opening_is_light(tmp_path: Path) -> None:
    sqlite = f"open_tracker('sqlite', root=Path({str(tmp_path)!r}))"
    opened = f"open_tracker('none'); {sqlite}; open_tracker('server', 'http://h')"
    unwanted = "{'mlflow', 'sqlalchemy', 'pandas', 'numpy', 'keras', 'tensorflow'}"
    imports = "import sys; from pathlib import Path; from pipeline.tracking import open_tracker"
    code = f"{imports}; {opened}; print({unwanted} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()", shlex.join(ran.args)
