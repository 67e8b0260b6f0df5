"""What the tests of the statistics share."""

import dataclasses

import pytest

from pipeline.statistics import declaration
from pipeline.statistics.declaration import Declaration


@pytest.fixture(scope="session")
def declared() -> Declaration:
    """What the project declares."""
    return declaration.load()


@pytest.fixture(scope="session")
def quick(declared: Declaration) -> Declaration:
    """The same with fewer sign flips: they carry no claim."""
    return dataclasses.replace(declared, permutations=99)
