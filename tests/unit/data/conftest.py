from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.data import tiny
from tests.unit.data.loopback import Server


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(dict(tiny.PACKED))
    yield server
    server.close()
