from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cli.console import PROJECT
from tests.unit.data import tiny
from tests.unit.data.loopback import Server


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(dict(tiny.PACKED))
    yield server
    server.close()


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    folder = PROJECT.parent / "shared" / "mnist"
    if not folder.is_dir():
        pytest.skip(f"the real MNIST files are not in {folder}")
    return folder
