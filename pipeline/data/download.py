"""One file over https, within limits of size and time."""

from __future__ import annotations

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


def download(url: str, most: int, until: float, limits: Limits, *, loopback_http: bool = False) -> bytes:
    """What `url` holds, at most `most` bytes, before `time.monotonic()` reaches `until`. Raises MirrorFailed.

    Only https is spoken, across redirects too; `loopback_http` lets tests talk to a server on 127.0.0.1.
    """
    if not is_https(url, loopback_http):
        raise MirrorFailed("is not an https address")
    for attempt in range(1, limits.attempts + 1):
        try:
            return _content(url, most, until, limits, loopback_http)
        except _Transient as failure:
            tries = f" (tried {attempt} times)" if attempt > 1 else ""
            pause = limits.pause * 2 ** (attempt - 1)
            if attempt == limits.attempts or time.monotonic() + pause > until:
                raise MirrorFailed(f"{failure}{tries}") from failure
            time.sleep(pause)
    raise MirrorFailed("was never asked for")


class _Transient(MirrorFailed):
    """May go better at the next try."""


def _content(url: str, most: int, until: float, limits: Limits, loopback_http: bool) -> bytes:
    import requests
    from urllib3.exceptions import HTTPError

    def stay_on_https(response: requests.Response, **_: Any) -> None:
        target = urljoin(response.url, response.headers.get("location", ""))
        if response.is_redirect and not is_https(target, loopback_http):
            response.close()
            raise MirrorFailed(f"is redirected to {without_login(target)}, and only https is followed")

    headers = {"Accept-Encoding": "identity", "User-Agent": "overfitting-gap"}
    waits = (limits.connect, limits.silence)
    data = bytearray()
    try:
        with requests.get(
            url, stream=True, timeout=waits, headers=headers, hooks={"response": stay_on_https}
        ) as response:
            response.raise_for_status()
            # `read1` gives what has arrived: a server that sends a byte a second would keep any longer read alive.
            while chunk := response.raw.read1(1 << 16):
                data += chunk
                size = response.headers.get("content-length", "")
                name, megabytes = url.rpartition("/")[2], f"{len(data) / 1e6:.1f} MB"
                terminal.show(name, len(data), int(size) if size.isdecimal() else None, megabytes)
                if len(data) > most:
                    raise MirrorFailed(f"goes on after {most:,} bytes")
                if time.monotonic() > until:
                    raise MirrorFailed(f"had come to {len(data):,} bytes when the {limits.mirror:g} s were over")
    except (requests.RequestException, HTTPError) as error:
        raise _described(error, limits) from error
    return bytes(data)


def _described(error: Exception, limits: Limits) -> MirrorFailed:
    """The failure in words for the person who reads the message, and whether another try makes sense."""
    import requests.exceptions as http

    if isinstance(error, http.TooManyRedirects):
        return MirrorFailed("is redirected in a loop")
    if isinstance(error, http.HTTPError) and error.response is not None:
        status = error.response.status_code
        passing = status >= 500 or status in (408, 425, 429)
        return (_Transient if passing else MirrorFailed)(f"gives HTTP status {status}")
    if isinstance(error, http.SSLError):
        return MirrorFailed("comes with a TLS certificate that cannot be verified")
    if isinstance(error, http.ConnectTimeout):
        return _Transient(f"gets no connection within {limits.connect:g} s")
    if "timed out" in str(error):
        return _Transient(f"sends nothing for {limits.silence:g} s")
    while causes := [cause for cause in (getattr(error, "reason", None), *error.args) if isinstance(cause, Exception)]:
        error = causes[-1]
    return _Transient(f"cannot be had ({str(error).rpartition(': ')[2][:100]})")


def is_https(address: str, loopback_http: bool = False) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    loopback = loopback_http and parts.scheme == "http" and parts.hostname == "127.0.0.1"
    return bool(parts.hostname) and (parts.scheme == "https" or loopback)


def without_login(address: str) -> str:
    """An address without the user name and password that it may carry."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
