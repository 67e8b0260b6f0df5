"""A clone of this checkout as a new user has it, with a small sweep on the data set that needs no download.

`dvc repro` runs in it once for all test files that need it. Commands in it start fast: see tests/support/forked.py.
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
    """The first folder on the PATH, with `python` and `dvc`."""
    first: str = ""
    """Output of the first `dvc repro`: stdout, then stderr."""

    def run(self, command: str, status: int = 0) -> str:
        """Run `command` in a shell, assert that it exits with `status`, and return its stdout."""
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
        """Return a clone that runs its commands in `folder`."""
        return replace(self, path=folder)


def environment(*programs: Path) -> dict[str, str]:
    """Return a user's environment: this Python on PATH, a name in git, no inherited DVC, MLflow or git variables."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_", "GIT_"))}
    who = {f"GIT_{role}_{what}": "tests@localhost" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    path = os.pathsep.join([*map(str, programs), str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return ours | who | {"PATH": path, "SHELL": "/bin/sh", "GIT_CONFIG_GLOBAL": os.devnull}


def quick_programs(factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a `python` and a `dvc` that run as forks of one process, which ends with this test run."""

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
    """Copy the working tree, including uncommitted files, into a git repository of its own."""
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
    # Compiling a dozen programs would take longer than all training here. Other tests train compiled programs.
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
    """Return the clone after `dvc repro`, with its results committed. Tests that change it must copy it first."""

    def make(folder: Path) -> None:
        clone = fresh(factory, folder / "with a space")
        done = clone.start("dvc repro", seconds=450)
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / "said").write_text(done.stdout + done.stderr)
        clone.commit("dvc repro")

    folder = once(factory, "a clone", make)
    return Clone(folder / "with a space", quick_programs(factory), (folder / "said").read_text())
