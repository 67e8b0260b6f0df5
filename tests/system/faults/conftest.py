import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.faults.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path, processed: Path) -> Workspace:
    (tmp_path / "project").mkdir()
    return Workspace(tmp_path / "project", processed)


class Disk:
    """A small tmpfs, mounted at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def mount(self, options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.path)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")

    def fill(self, left: int) -> None:
        """Write a filler file until only `left` bytes are free."""
        stat = os.statvfs(self.path)
        with open(self.path / "filler", "ab") as file:
            file.write(bytes(max(0, stat.f_bavail * stat.f_frsize - left)))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Disk]]:
    """Return a function that mounts a disk of the given number of megabytes."""
    path = tmp_path / "a disk"

    def mounted(megabytes: int) -> Disk:
        if os.geteuid():
            pytest.skip("only root may mount a small file system; .ci/run does")
        path.mkdir()
        made = Disk(path)
        made.mount(f"size={megabytes}m")
        return made

    yield mounted
    if path.is_mount():
        subprocess.run(["umount", "-l", str(path)], check=True)
