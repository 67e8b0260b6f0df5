"""What the tests of the statistics share."""

from __future__ import annotations

import pytest

from pipeline.statistics import declaration
from pipeline.statistics.declaration import Declaration


@pytest.fixture(scope="session")
def declared() -> Declaration:
    """What the project declares."""
    return declaration.load()
