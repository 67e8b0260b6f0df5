"""A damaged dvc.lock: `make run` names the command that repairs it, and that command works."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.clone import CHECKOUT
from tests.system.faults.workspace import last_line

WHOLE = (CHECKOUT / "dvc.lock").read_bytes()
DAMAGES = {
    "emptied": b"",
    "cut in a word": WHOLE[: WHOLE.index(b"md5:") + 2],
    "in conflict": b"<<<<<<< HEAD\n" + WHOLE + b"=======\n" + WHOLE + b">>>>>>> theirs\n",
}


@pytest.mark.fault("dvc.lock damaged")
@pytest.mark.parametrize("damage", DAMAGES)
def test_its_repair_is_named_and_repairs_it(tmp_path: Path, damage: str) -> None:
    shutil.copytree(CHECKOUT / "scripts", tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    lock = tmp_path / "dvc.lock"

    def repair() -> str:
        lock.write_bytes(DAMAGES[damage])
        done = subprocess.run([sys.executable, "scripts/run.py"], cwd=tmp_path, capture_output=True, text=True)
        line = last_line(done.stderr)
        assert (done.returncode, done.stdout) == (2, "")
        assert line.startswith("error: dvc.lock: ")
        assert lock.read_bytes() == DAMAGES[damage], "never silently made anew"
        return line.partition("repair it with: ")[2].partition(" (")[0]

    assert repair() == "rm dvc.lock", "where none is committed"
    lock.write_bytes(WHOLE)
    git = ["git", "-c", "user.name=tests", "-c", "user.email=tests@localhost"]
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "-m", "a record"]):
        subprocess.run([*git, *words], cwd=tmp_path, check=True)
    subprocess.run(repair(), shell=True, cwd=tmp_path, check=True)
    assert lock.read_bytes() == WHOLE
