from collections.abc import Iterator

import pytest

from pipeline.data import download
from tests.unit.data import tiny
from tests.unit.data.loopback import Server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """It may do without TLS, and is waited for as long as it takes one on 127.0.0.1."""
    server = Server(dict(tiny.PACKED))
    waits = {"SPOKEN": ("https://", f"{server.url}/"), "CONNECT": 0.3, "SILENCE": 0.3, "PAUSE": 0.01}
    for name, value in waits.items():
        monkeypatch.setattr(download, name, value)
    yield server
    server.close()
