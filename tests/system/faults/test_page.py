"""docs/faults.md has a row for each kind of fault that is injected, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.clone import CHECKOUT

PAGE = (CHECKOUT / "docs" / "faults.md").read_text("utf-8")
ROWS = [
    line.split(" | ")[0].removeprefix("| ")
    for line in PAGE[PAGE.index("<!-- rows -->") : PAGE.index("<!-- /rows -->")].splitlines()
    if line.startswith("| ") and not line.startswith(("| fault ", "| ---"))
]


def marked() -> set[str]:
    tests = Path(CHECKOUT / "tests").rglob("test_*.py")
    return {row for path in tests for row in re.findall(r'mark\.fault\(\s*"([^"]+)"\s*\)', path.read_text("utf-8"))}


def test_each_fault_that_is_injected_has_its_row() -> None:
    assert sorted(ROWS) == sorted(marked())
