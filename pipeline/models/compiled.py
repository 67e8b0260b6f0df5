"""Compiled programs kept between processes: XLA's own cache for TensorFlow, made fit to be trusted.

TensorFlow's cache has three weaknesses: its keys contain counters of the process, so that another order of work misses; it
runs what it finds without a checksum; and it does not know the processor. So names are drawn from the shape of a program
(`stable_names`), files are checked against a list of digests before TensorFlow starts (`open_cache`), and the folder belongs
to one processor and one release. A program from the cache is the machine code that was compiled: the same bits.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import platform
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

LIST = "digests.json"
MOST = 512
"""Files kept, newest first (about 0.4 MB each)."""

SWITCH = "OVERFITTING_GAP_CACHE"
"""Environment variable: another folder for the cache, or `off`."""


def root() -> Path | None:
    """Where this project keeps what it found out about machines; None where that is off or has no home."""
    place = os.environ.get(SWITCH) or os.environ.get("XDG_CACHE_HOME")
    if place == "off":
        return None
    if not place:
        try:
            place = str(Path.home() / ".cache")
        except RuntimeError:
            return None
    return Path(place) / "overfitting-gap"


def folder() -> Path | None:
    """Where programs for this processor and this TensorFlow are kept; None where nothing is."""
    place = root()
    made_of = (processor(), version("tensorflow"), version("keras"), os.environ.get("XLA_FLAGS", ""))
    return place / f"xla-{hashlib.sha256(repr(made_of).encode()).hexdigest()[:16]}" if place else None


def open_cache() -> Path | None:
    """Let TensorFlow, before it is imported, use the cache; files that are not as they were written are deleted."""
    place = folder()
    if place is None:
        return None
    try:
        place.mkdir(parents=True, exist_ok=True)
        if not os.access(place, os.W_OK) or " " in str(place):  # TensorFlow's flags are separated by spaces
            return None
        known = _read(place)
        for path in place.glob("xla_compile_cache*"):
            if known.get(path.name) != _digest(path):
                path.unlink(missing_ok=True)
    except OSError:
        return None
    flags = os.environ.get("TF_XLA_FLAGS", "")
    if "persistent_cache_directory" not in flags:
        own = f"--tf_xla_persistent_cache_directory={place} --tf_xla_persistent_cache_device_types=CPU"
        os.environ["TF_XLA_FLAGS"] = f"{flags} {own}".strip()
    return place


def note(place: Path) -> None:
    """Put what this process added to the cache on the list; what is not on it is not used by the next process."""
    with suppress(OSError):
        known = _read(place)
        paths = sorted(place.glob("xla_compile_cache*"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in paths[MOST:]:
            path.unlink(missing_ok=True)
        fresh = {path.name: known.get(path.name) or _digest(path) for path in paths[:MOST]}
        descriptor, temporary = tempfile.mkstemp(dir=place, prefix=".list")
        with os.fdopen(descriptor, "w") as file:
            json.dump(fresh, file)
        os.replace(temporary, place / LIST)


_uses: dict[str, int] = {}


@contextmanager
def stable_names(seed: str) -> Iterator[None]:
    """Name TensorFlow functions traced by this thread after `seed` instead of after a counter of the process.

    Names must not repeat in a process: a seed that comes again (a second worker, the same shape) gets a number.
    """
    from tensorflow.python.framework import ops

    _uses[seed] = _uses.get(seed, 0) + 1
    seed = f"{seed} {_uses[seed]}"

    mine = threading.get_ident()
    before = ops.uid
    numbers = itertools.count(int(hashlib.sha256(seed.encode()).hexdigest()[:9], 16) << 20)
    ops.uid = lambda: next(numbers) if threading.get_ident() == mine else before()
    try:
        yield
    finally:
        ops.uid = before


def _read(place: Path) -> dict[str, str]:
    try:
        listed = json.loads((place / LIST).read_text())
    except (OSError, ValueError):
        return {}
    return listed if isinstance(listed, dict) else {}


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def processor() -> str:
    """What this machine's processor is and can."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()} {platform.node()}"
    return "\n".join(
        sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))})
    )
