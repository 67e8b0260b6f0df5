import time

import pytest

from pipeline.data import download
from pipeline.data.download import MirrorFailed
from tests.unit.data import loopback
from tests.unit.data.loopback import Server

pytestmark = pytest.mark.fault("mirrors misbehave")

NAME = "train-images-idx3-ubyte.gz"


def fetch(server: Server, max_bytes: int = 10_000) -> bytes:
    return download.download(f"{server.url}/{NAME}", max_bytes, time.monotonic() + download.MIRROR_TIMEOUT)


def test_refusal_is_final(server: Server) -> None:
    server.answer = loopback.status(404)
    with pytest.raises(MirrorFailed, match=r"returns HTTP status 404$"):
        fetch(server)
    assert len(server.asked) == 1


@pytest.mark.parametrize("code", [429, 503])
def test_trouble_is_tried_again(server: Server, code: int) -> None:
    server.answer = loopback.status(code)
    with pytest.raises(MirrorFailed, match=rf"returns HTTP status {code} \(tried 3 times\)"):
        fetch(server)
    assert len(server.asked) == 3


def test_redirect_is_followed_and_its_own_text_dropped(server: Server) -> None:
    server.answer = loopback.redirect_once
    assert fetch(server) == server.files[NAME]


def test_redirect_loop(server: Server) -> None:
    server.answer = loopback.redirect("{path}")
    with pytest.raises(MirrorFailed, match="is redirected in a loop"):
        fetch(server)


@pytest.mark.parametrize("target", ["http://user:pw@example.org/x", "file:///etc/passwd"])
def test_redirect_away_from_https_is_refused(server: Server, target: str) -> None:
    server.answer = loopback.redirect(target)
    with pytest.raises(MirrorFailed, match="only https is followed") as raised:
        fetch(server)
    assert "pw" not in str(raised.value)
    assert len(server.asked) == 1


def test_silence_ends(server: Server) -> None:
    server.answer = loopback.silent
    with pytest.raises(MirrorFailed, match=r"sent nothing for 0.3 s \(tried 3 times\)"):
        fetch(server)


def test_a_byte_at_a_time_ends_with_the_deadline(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MIRROR_TIMEOUT", 0.4)
    server.answer = loopback.dripping
    with pytest.raises(MirrorFailed, match=r"took longer than 0.4 s, with \d+ bytes"):
        fetch(server)


def test_an_endless_file_is_left(server: Server) -> None:
    server.answer = loopback.endless
    with pytest.raises(MirrorFailed, match="is larger than 100,000 bytes"):
        fetch(server, max_bytes=100_000)
