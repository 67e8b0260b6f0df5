"""How long the tests of faults look: FAULT_ROUNDS times as long as `make test` does."""

from __future__ import annotations

import os

ROUNDS = max(1, int(os.environ.get("FAULT_ROUNDS", "1")))


def examples(few: int) -> int:
    """How many examples hypothesis draws."""
    return few * min(ROUNDS, 50)
