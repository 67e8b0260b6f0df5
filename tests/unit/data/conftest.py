from collections.abc import Iterator

import pytest

from pipeline.data import download
from tests.unit.data import tiny
from tests.unit.data.loopback import Server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A mirror on 127.0.0.1 without TLS, with short timeouts."""
    server = Server(dict(tiny.PACKED))
    settings = {"PREFIXES": ("https://", f"{server.url}/"), "CONNECT_TIMEOUT": 0.3, "READ_TIMEOUT": 0.3, "PAUSE": 0.01}
    for name, value in settings.items():
        monkeypatch.setattr(download, name, value)
    yield server
    server.close()
