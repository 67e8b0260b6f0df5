"""A clone of this checkout, as a newcomer has it, on the data set that needs no download and with a small sweep.

`dvc repro` runs there once for all files of tests that ask for it. What is typed there starts at once: tests/support/forked.py.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import forked
from tests.support.once import once

CHECKOUT = Path(__file__).resolve().parent.parent.parent
PARAMS: dict[str, Any] = {
    "dataset": "digits",
    "seeds": 2,
    "optimizer": ["sgd", "adam"],
    "model": {"width": [8, 16], "depth": 1},
    "training": {"epochs": 2},
    "train": {"seeds": 2},
    "overfitting": {"train_sizes": [300]},
}


@dataclass
class Clone:
    path: Path
    programs: Path
    """A folder with the `python` and the `dvc` that are found first."""
    first: str = ""
    """What the first `dvc repro` said, on both streams."""

    def run(self, command: str, status: int = 0) -> str:
        """What `command`, typed as a person types it, says on stdout; it must end with `status`."""
        done = self.start(command)
        assert done.returncode == status, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, command: str, seconds: float = 220) -> subprocess.CompletedProcess[str]:
        own = environment(self.programs)
        return subprocess.run(
            command, shell=True, cwd=self.path, env=own, capture_output=True, text=True, timeout=seconds
        )

    def read(self, name: str) -> str:
        return (self.path / name).read_text("utf-8")

    def write(self, name: str, text: str) -> None:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(text, "utf-8")

    def commit(self, why: str) -> None:
        self.run(f"git add --all && git commit --quiet -m '{why}'")

    def copy(self, to: Path, *left_out: str) -> "Clone":
        shutil.copytree(self.path, to, symlinks=True, ignore=shutil.ignore_patterns("tmp", *left_out))
        return self.at(to)

    def at(self, folder: Path) -> "Clone":
        """Another folder in which the same is typed."""
        return replace(self, path=folder)


def environment(*programs: Path) -> dict[str, str]:
    """That of a person who has the project's Python on the PATH and a name in git, and none of what this process has."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_", "GIT_"))}
    who = {f"GIT_{role}_{what}": "tests@localhost" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    path = os.pathsep.join([*map(str, programs), str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return ours | who | {"PATH": path, "SHELL": "/bin/sh", "GIT_CONFIG_GLOBAL": os.devnull}


def quick_programs(factory: pytest.TempPathFactory) -> Path:
    """A folder with a `python` and a `dvc` that are forks of one process, which ends with this run of the tests."""

    def make(folder: Path) -> None:
        for name, words in {"python": "", "dvc": "-m dvc "}.items():
            command = f'"{sys.executable}" -IS "{forked.__file__}" "{folder}/socket" {words}"$@"'
            (folder / name).write_text(f"#!/bin/sh\nexec {command}\n")
            (folder / name).chmod(0o755)
        own = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
        with socket.socket(socket.AF_UNIX) as listening, open(folder / "log", "w") as log:
            listening.bind(str(folder / "socket"))
            listening.listen(64)
            number = listening.fileno()
            command = [sys.executable, forked.__file__, "serve", str(number), str(own)]
            background = ["sh", "-c", '"$@" &', "sh", *command]
            subprocess.run(background, pass_fds=[number], stdout=log, stderr=log, start_new_session=True, check=True)

    return once(factory, "programs", make)


def fresh(factory: pytest.TempPathFactory, folder: Path) -> Clone:
    """The working tree, files not yet committed included, in a git repository of its own."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
    )
    if listed.returncode:
        pytest.skip("no git repository here")
    clone = Clone(folder, quick_programs(factory))
    for name in filter(None, os.fsdecode(listed.stdout).split("\0")):
        if (CHECKOUT / name).is_file() and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, folder / name)
    clone.write("params.yaml", yaml.safe_dump(PARAMS, sort_keys=False))
    # Compiling a dozen programs would take longer than all that is trained here; other tests train compiled ones.
    device = clone.read("conf/device/auto.yaml")
    assert "\nxla: true\n" in device
    clone.write("conf/device/auto.yaml", device.replace("\nxla: true\n", "\nxla: false\n"))
    fitted = clone.read("conf/sweep/overfitting.yaml")
    for key, value in {"optimizer": "adam", "model.width": "16"}.items():
        fitted = re.sub(rf"(?m)^( +{key}:) .*", rf"\1 {value}", fitted)
    clone.write("conf/sweep/overfitting.yaml", fitted)
    clone.run("git init --quiet --initial-branch=main")
    clone.commit("A clone on digits")
    return clone


def after_repro(factory: pytest.TempPathFactory) -> Clone:
    """The clone in which the pipeline ran, committed: to be read, and copied where something is to be changed."""

    def make(folder: Path) -> None:
        clone = fresh(factory, folder / "with a space")
        done = clone.start("dvc repro", seconds=450)
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / "said").write_text(done.stdout + done.stderr)
        clone.commit("dvc repro")

    folder = once(factory, "a clone", make)
    return Clone(folder / "with a space", quick_programs(factory), (folder / "said").read_text())
