"""DVC's record of what it made, damaged: `make run` names the command that repairs it, and that command does."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.clone import CHECKOUT
from tests.system.faults.workspace import last_line

pytestmark = pytest.mark.fault("dvc.lock damaged")


def emptied(content: bytes) -> bytes:
    return b""


def cut(content: bytes) -> bytes:
    """In the middle of a word."""
    return content[: content.index(b"md5:") + 2]


def in_conflict(content: bytes) -> bytes:
    return b"<<<<<<< HEAD\n" + content + b"=======\n" + content + b">>>>>>> theirs\n"


DAMAGES: list[Callable[[bytes], bytes]] = [emptied, cut, in_conflict]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    shutil.copytree(CHECKOUT / "scripts", tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHECKOUT / "dvc.lock", tmp_path)
    git = ["git", "-c", "user.name=tests", "-c", "user.email=tests@localhost"]
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "-m", "a record"]):
        subprocess.run([*git, *words], cwd=tmp_path, check=True)
    return tmp_path


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_its_repair_is_named_and_repairs_it(repository: Path, damage: Callable[[bytes], bytes]) -> None:
    lock = repository / "dvc.lock"
    whole = lock.read_bytes()
    lock.write_bytes(damage(whole))
    before = lock.read_bytes()
    done = subprocess.run([sys.executable, "scripts/run.py"], cwd=repository, capture_output=True, text=True)
    line = last_line(done.stderr)
    assert (done.returncode, done.stdout) == (2, "")
    assert line.startswith("error: dvc.lock: ")
    assert lock.read_bytes() == before, "never silently made anew"
    repair = line.partition("repair it with: ")[2].partition(" (")[0]
    subprocess.run(repair, shell=True, cwd=repository, check=True)
    assert lock.read_bytes() == whole


def test_without_a_committed_one_it_is_to_be_removed(repository: Path) -> None:
    shutil.rmtree(repository / ".git")
    (repository / "dvc.lock").write_bytes(b"")
    done = subprocess.run([sys.executable, "scripts/run.py"], cwd=repository, capture_output=True, text=True)
    assert "repair it with: rm dvc.lock (runs that are finished are not trained again)" in last_line(done.stderr)
