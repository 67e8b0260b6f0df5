"""Fixtures shared by the tests of the statistics."""

import dataclasses

import pytest

from pipeline.statistics import declaration
from pipeline.statistics.declaration import Declaration


@pytest.fixture(scope="session")
def declared() -> Declaration:
    """The project's own declaration, conf/comparison.yaml."""
    return declaration.load()


@pytest.fixture(scope="session")
def quick(declared: Declaration) -> Declaration:
    """The same declaration with fewer sign flips, which is quicker; no claim depends on them."""
    return dataclasses.replace(declared, permutations=99)
