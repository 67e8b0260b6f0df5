"""The address of `make ui`, noted in the checkout, so that a report's links lead to the port that was chosen."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

DEFAULT = "http://127.0.0.1:5000"
NOTE = Path(".dvc/tmp/ui-address")


def read(checkout: Path) -> str:
    """The address at which `make ui` ran last; the default one where it never did."""
    with suppress(OSError):
        return (checkout / NOTE).read_text(encoding="utf-8").strip()
    return DEFAULT


def write(checkout: Path, address: str) -> None:
    """Keep the address for the next report. In a folder that cannot be written, links stay as they are."""
    with suppress(OSError):
        (checkout / NOTE).parent.mkdir(parents=True, exist_ok=True)
        (checkout / NOTE).write_text(f"{address}\n", encoding="utf-8")
