"""One file over https, within limits of size and time."""

from __future__ import annotations

import time

from pipeline.cli import terminal


class MirrorFailed(Exception):
    """Why a mirror is passed over, in a few words."""


class Transient(MirrorFailed):
    """May go better at the next try."""


SPOKEN = ("https://",)
"""What the addresses begin with that are asked, across redirects too."""
CONNECT, SILENCE = 5.0, 15.0
"""Seconds to wait for a connection, and for the next bytes."""
MIRROR = 180.0
"""Seconds that one mirror may take for all its files, tries and pauses included."""
ATTEMPTS, PAUSE = 3, 0.5
"""Tries of a file, and seconds before the second one; twice as long before each further one."""


def download(url: str, most: int, until: float) -> bytes:
    """What `url` holds, at most `most` bytes, before `time.monotonic()` reaches `until`. Raises MirrorFailed."""
    attempt = 1
    while True:
        try:
            return _content(url, most, until)
        except Transient as failure:
            tries = f" (tried {attempt} times)" if attempt > 1 else ""
            pause = PAUSE * 2 ** (attempt - 1)
            if attempt == ATTEMPTS or time.monotonic() + pause > until:
                raise MirrorFailed(f"{failure}{tries}") from failure
            time.sleep(pause)
            attempt += 1


def _content(url: str, most: int, until: float) -> bytes:
    import requests
    from urllib3.exceptions import HTTPError

    headers = {"Accept-Encoding": "identity", "User-Agent": "overfitting-gap"}
    data = bytearray()
    try:
        with requests.Session() as session:
            session.adapters.clear()
            for prefix in SPOKEN:
                session.mount(prefix, requests.adapters.HTTPAdapter())
            with session.get(url, stream=True, timeout=(CONNECT, SILENCE), headers=headers) as response:
                response.raise_for_status()
                size = response.headers.get("content-length", "")
                # `read1` gives what has arrived: a server that sends a byte a second would keep any longer read alive.
                while chunk := response.raw.read1(1 << 16):
                    data += chunk
                    name, megabytes = url.rpartition("/")[2], f"{len(data) / 1e6:.1f} MB"
                    terminal.show(name, len(data), int(size) if size.isdecimal() else None, megabytes)
                    if len(data) > most:
                        raise MirrorFailed(f"goes on after {most:,} bytes")
                    if time.monotonic() > until:
                        raise MirrorFailed(f"had come to {len(data):,} bytes when the {MIRROR:g} s were over")
    except (requests.RequestException, HTTPError) as error:
        raise _described(error) from error
    return bytes(data)


def _described(error: Exception) -> MirrorFailed:
    """The failure in words for the person who reads the message, and whether another try makes sense."""
    import requests.exceptions as http

    if isinstance(error, http.TooManyRedirects):
        return MirrorFailed("is redirected in a loop")
    if isinstance(error, http.InvalidSchema | http.InvalidURL):
        return MirrorFailed("leads to another kind of address, and only https is followed")
    if isinstance(error, http.HTTPError) and error.response is not None:
        status = error.response.status_code
        passing = status >= 500 or status in (408, 425, 429)
        return (Transient if passing else MirrorFailed)(f"gives HTTP status {status}")
    if isinstance(error, http.SSLError):
        return MirrorFailed("comes with a TLS certificate that cannot be verified")
    if isinstance(error, http.ConnectTimeout):
        return Transient(f"gets no connection within {CONNECT:g} s")
    if "timed out" in str(error):
        return Transient(f"sends nothing for {SILENCE:g} s")
    while causes := [cause for cause in (getattr(error, "reason", None), *error.args) if isinstance(cause, Exception)]:
        error = causes[-1]
    return Transient(f"cannot be had ({str(error).rpartition(': ')[2][:100]})")
