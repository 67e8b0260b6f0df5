"""The address of `make ui`, kept in the checkout so that a report's links use the right port."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

DEFAULT = "http://127.0.0.1:5000"
NOTE = Path(".dvc/tmp/ui-address")


def read(checkout: Path) -> str:
    """Return the address of the last `make ui`, or the default."""
    with suppress(OSError):
        return (checkout / NOTE).read_text(encoding="utf-8").strip()
    return DEFAULT


def write(checkout: Path, address: str) -> None:
    """Keep the address for the next report. A folder that cannot be written to is ignored."""
    with suppress(OSError):
        (checkout / NOTE).parent.mkdir(parents=True, exist_ok=True)
        (checkout / NOTE).write_text(f"{address}\n", encoding="utf-8")
