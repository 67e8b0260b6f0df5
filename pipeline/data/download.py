"""Downloads a file over https, with limits on size and time."""

from __future__ import annotations

import time

from pipeline.cli import terminal


class MirrorFailed(Exception):
    """A mirror cannot be used; the message says why."""


class Transient(MirrorFailed):
    """A failure that another attempt may not have."""


PREFIXES = ("https://",)
"""Allowed prefixes of addresses, also after redirects."""
CONNECT_TIMEOUT, READ_TIMEOUT = 5.0, 15.0
"""Seconds to wait for a connection, and for the next bytes."""
MIRROR_TIMEOUT = 180.0
"""Seconds for all files of one mirror, retries and pauses included."""
ATTEMPTS, PAUSE = 3, 0.5
"""Attempts per file, and seconds before the second one; the pause doubles each time."""


def download(url: str, max_bytes: int, until: float) -> bytes:
    """Return the content of `url`. Raises MirrorFailed for more than `max_bytes` or when `time.monotonic()` reaches `until`."""
    attempt = 1
    while True:
        try:
            return _content(url, max_bytes, until)
        except Transient as failure:
            tries = f" (tried {attempt} times)" if attempt > 1 else ""
            pause = PAUSE * 2 ** (attempt - 1)
            if attempt == ATTEMPTS or time.monotonic() + pause > until:
                raise MirrorFailed(f"{failure}{tries}") from failure
            time.sleep(pause)
            attempt += 1


def _content(url: str, max_bytes: int, until: float) -> bytes:
    import requests
    from urllib3.exceptions import HTTPError

    headers = {"Accept-Encoding": "identity", "User-Agent": "overfitting-gap"}
    data = bytearray()
    try:
        with requests.Session() as session:
            session.adapters.clear()
            for prefix in PREFIXES:
                session.mount(prefix, requests.adapters.HTTPAdapter())
            with session.get(url, stream=True, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT), headers=headers) as response:
                response.raise_for_status()
                size = response.headers.get("content-length", "")
                # `read1` returns what has arrived; `read` would wait for a server that sends one byte per second.
                while chunk := response.raw.read1(1 << 16):
                    data += chunk
                    name, megabytes = url.rpartition("/")[2], f"{len(data) / 1e6:.1f} MB"
                    terminal.show(name, len(data), int(size) if size.isdecimal() else None, megabytes)
                    if len(data) > max_bytes:
                        raise MirrorFailed(f"is larger than {max_bytes:,} bytes")
                    if time.monotonic() > until:
                        raise MirrorFailed(f"took longer than {MIRROR_TIMEOUT:g} s, with {len(data):,} bytes so far")
    except (requests.RequestException, HTTPError) as error:
        raise _failure(error) from error
    return bytes(data)


def _failure(error: Exception) -> MirrorFailed:
    """Return the failure with a readable message; it is Transient if another attempt makes sense."""
    import requests.exceptions as http

    if isinstance(error, http.TooManyRedirects):
        return MirrorFailed("is redirected in a loop")
    if isinstance(error, http.InvalidSchema | http.InvalidURL):
        return MirrorFailed("redirects to an address other than https; only https is followed")
    if isinstance(error, http.HTTPError) and error.response is not None:
        status = error.response.status_code
        transient = status >= 500 or status in (408, 425, 429)
        return (Transient if transient else MirrorFailed)(f"returns HTTP status {status}")
    if isinstance(error, http.SSLError):
        return MirrorFailed("has a TLS certificate that cannot be verified")
    if isinstance(error, http.ConnectTimeout):
        return Transient(f"could not be reached within {CONNECT_TIMEOUT:g} s")
    if "timed out" in str(error):
        return Transient(f"sent nothing for {READ_TIMEOUT:g} s")
    while causes := [cause for cause in (getattr(error, "reason", None), *error.args) if isinstance(cause, Exception)]:
        error = causes[-1]
    return Transient(f"cannot be downloaded ({str(error).rpartition(': ')[2][:100]})")
