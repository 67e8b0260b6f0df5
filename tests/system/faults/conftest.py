from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.system.faults.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path, processed: Path) -> Workspace:
    (tmp_path / "project").mkdir()
    return Workspace(tmp_path / "project", processed)


class Disk:
    """A real file system of so many megabytes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def mount(self, options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.path)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")

    def fill(self, left: int) -> None:
        """Until so many bytes are free."""
        stat = os.statvfs(self.path)
        with open(self.path / "filler", "ab") as file:
            file.write(bytes(max(0, stat.f_bavail * stat.f_frsize - left)))


@contextmanager
def mounted(path: Path, megabytes: int) -> Iterator[Disk]:
    if os.geteuid():
        pytest.skip("only root may mount a small file system; .ci/run does")
    path.mkdir()
    disk = Disk(path)
    disk.mount(f"size={megabytes}m")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Callable[[int], Any]:
    """Disks of so many megabytes, each with a workspace on it."""
    return lambda megabytes: mounted(tmp_path / f"disk of {megabytes} MB", megabytes)
