"""One file over https, within limits: pooch fetches it, this module says when to stop and what to call the failure."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from pipeline.cli import terminal


class MirrorFailed(Exception):
    """Why a mirror is passed over, in a few words."""


@dataclass(frozen=True)
class Limits:
    """Seconds, but for `attempts`."""

    connect: float = 5
    silence: float = 15
    """Longest wait for the next bytes."""
    mirror: float = 180
    """Longest time that one mirror may take for all its files, tries and pauses included."""
    attempts: int = 3
    pause: float = 0.5
    """Before the second try; twice as long before each further one."""


LIMITS = Limits()
REDIRECTS = 5


def download(url: str, most: int, until: float, limits: Limits, *, loopback_http: bool = False) -> bytes:
    """What `url` holds, at most `most` bytes, before `time.monotonic()` reaches `until`. Raises MirrorFailed.

    Only https is spoken, across redirects too; `loopback_http` lets tests talk to a server on 127.0.0.1.
    """
    if not is_https(url, loopback_http):
        raise MirrorFailed("is not an https address")
    for attempt in range(1, limits.attempts + 1):
        try:
            return _Attempt(url, most, until, limits, loopback_http).run()
        except _Transient as failure:
            tries = f" (tried {attempt} times)" if attempt > 1 else ""
            pause = limits.pause * 2 ** (attempt - 1)
            if attempt == limits.attempts or time.monotonic() + pause > until:
                raise MirrorFailed(f"{failure}{tries}") from failure
            time.sleep(pause)
    raise MirrorFailed("was never asked for")


class _Transient(MirrorFailed):
    """May go better at the next try."""


class _Attempt:
    """One request. It is also the file that pooch writes to, so that size and deadline are checked as bytes come."""

    def __init__(self, url: str, most: int, until: float, limits: Limits, loopback_http: bool) -> None:
        self.url, self.most, self.until, self.limits = url, most, until, limits
        self.loopback_http = loopback_http
        self.data = bytearray()
        self.response: Any = None
        self.failure: Exception | None = None

    def run(self) -> bytes:
        # In a thread of its own: a server that sends a byte a second keeps every read alive, and no timeout of the
        # socket ends that. The deadline is for this thread to keep; the other one ends with its connection.
        thread = threading.Thread(target=self._request, daemon=True, name="download")
        thread.start()
        thread.join(max(0.0, self.until - time.monotonic()))
        if thread.is_alive():
            self.until = 0.0
            raise MirrorFailed(f"had come to {len(self.data):,} bytes when the {self.limits.mirror:g} s were over")
        if self.failure is not None:
            raise _described(self.failure, self.limits) from self.failure
        return bytes(self.data)

    def _request(self) -> None:
        try:
            url = self.url
            for _ in range(1 + REDIRECTS):
                self._ask(url)
                if not self.response.is_redirect:
                    return
                url = urljoin(url, self.response.headers["location"])
                if not is_https(url, self.loopback_http):
                    raise MirrorFailed(f"is redirected to {without_login(url)}, and only https is followed")
            raise MirrorFailed("is redirected in a loop")
        except Exception as error:
            self.failure = error

    def _ask(self, url: str) -> None:
        from pooch import HTTPDownloader  # type: ignore[import-untyped]

        fetch = HTTPDownloader(
            chunk_size=1 << 16,
            timeout=(self.limits.connect, self.limits.silence),
            allow_redirects=False,  # requests would follow them to plain http, and read their bodies to the end
            headers={"Accept-Encoding": "identity", "User-Agent": "overfitting-gap"},
            hooks={"response": self._answered},
        )
        self.data.clear()
        try:
            fetch(url, self, None)
        finally:
            if self.response is not None:
                self.response.close()

    def _answered(self, response: Any, **_: Any) -> None:
        self.response = response

    def write(self, chunk: bytes) -> int:
        if time.monotonic() > self.until:
            raise MirrorFailed("is too slow")
        if len(self.data) + len(chunk) > self.most:
            raise MirrorFailed(f"goes on after {self.most:,} bytes")
        self.data += chunk
        size = self.response.headers.get("content-length", "") if self.response is not None else ""
        name, megabytes = self.url.rpartition("/")[2], f"{len(self.data) / 1e6:.1f} MB"
        terminal.show(name, len(self.data), int(size) if size.isdecimal() else None, megabytes)
        return len(chunk)

    def flush(self) -> None:
        """pooch calls it after each chunk."""


def is_https(address: str, loopback_http: bool = False) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    loopback = loopback_http and parts.scheme == "http" and parts.hostname == "127.0.0.1"
    return bool(parts.hostname) and (parts.scheme == "https" or loopback)


def _described(error: Exception, limits: Limits) -> MirrorFailed:
    """The failure in words for the person who reads the message, and whether another try makes sense."""
    import requests.exceptions as http

    if isinstance(error, MirrorFailed):
        return error
    if isinstance(error, http.HTTPError):
        status = getattr(error.response, "status_code", 0)
        passing = status >= 500 or status in (408, 425, 429)
        return (_Transient if passing else MirrorFailed)(f"gives HTTP status {status}")
    if isinstance(error, http.SSLError):
        return MirrorFailed("comes with a TLS certificate that cannot be verified")
    if isinstance(error, http.ConnectTimeout):
        return _Transient(f"gets no connection within {limits.connect:g} s")
    if isinstance(error, http.Timeout) or "timed out" in str(error):
        return _Transient(f"sends nothing for {limits.silence:g} s")
    for sign, words in _SIGNS.items():
        if sign in str(error):
            return _Transient(words)
    return _Transient(f"{type(error).__name__}: {str(error)[:100]}")


_SIGNS = {
    "NameResolutionError": "cannot be had: no such host, or no network",
    "Unable to connect to proxy": "cannot be had: the proxy does not answer",
    "IncompleteRead": "breaks off before its end",
    "Connection refused": "cannot be had: connection refused",
    "RemoteDisconnected": "gets no answer",
    "Connection reset": "breaks off: connection reset",
}
"""What the exceptions of requests and urllib3 have in their text, and what it means."""


def without_login(address: str) -> str:
    """An address without the user name and password that it may carry."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
