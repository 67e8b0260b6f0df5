"""No configuration causes a traceback, and an accepted one trains exactly what it says."""

import math
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cli.errors import shown_line
from pipeline.config import rules
from pipeline.config.commandline import check
from pipeline.config.compose import ConfigurationError, problems, to_job
from pipeline.config.run_config import RunConfig, digest
from tests.support.factory import settings as composed

NUMBERS = [0, -1, -5, 1, 2, 31, 2**31, 2**63, 2**64 - 1, 2**64, 10**30, 0.5, -0.0, 1e-320, 1e400, -1e400, math.nan]
WORDS = ["nan", "1e400", "null", "", " ", "a\0b", "../x", "${seed}", "relu", "adam", "true", "[1,2]", "é🧪", "\x1b[2J"]
value = st.recursive(
    st.sampled_from([*NUMBERS, *WORDS, None, True, False]) | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=6,
)
keys = st.sampled_from(
    [*rules.RULES, *(f"optimizer.{name}" for name in rules.HYPERPARAMETERS), "optimizer.lr", "x", "model"]
)
any_speed = settings(deadline=None, database=None, max_examples=60)


def changed(optimizer: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Return a composed configuration with these keys set to arbitrary values."""
    values = composed(optimizer)
    for key, new in changes.items():
        section, _, name = key.rpartition(".")
        if not section or isinstance(values[section], dict):
            (values[section] if section else values)[name] = new
    return values


@pytest.mark.fault("bad configuration")
@any_speed
@given(st.sampled_from(rules.options("optimizer")), st.dictionaries(keys, value, min_size=1, max_size=5))
def test_values_are_refused_in_words_or_mean_what_they_say(optimizer: str, changes: dict[str, Any]) -> None:
    values = changed(optimizer, changes)
    found = problems(values)
    assert all(isinstance(line, str) and line for line in found)
    if found:
        with pytest.raises(ConfigurationError):
            to_job(values)
        return
    job = to_job(values)
    assert RunConfig.from_dict(job.to_dict()) == job
    assert len(digest(job.to_dict())) == 64
    flat = job.flat()
    for key, new in changes.items():
        if key in flat and key != "model.hidden":
            assert flat[key] == new, "what was asked for is what is trained"
    numbers = [number for number in flat.values() if isinstance(number, float)]
    assert all(map(math.isfinite, numbers))
    assert min(job.model.hidden) >= 1
    assert 0 <= job.seed < 2**64
    assert job.training.epochs >= 1


PARTS = ["${", "range(", "choice(", "glob(*)", "sort(", "seed", "model.width", "optimizer", "1e400"]
grammar = st.sampled_from([*"=,()[]{}'\"\\$:+~@. \n\t\0-", *PARTS])
word = st.text(max_size=30) | st.lists(grammar | st.text(max_size=3), max_size=12).map("".join)
assigned = st.tuples(keys | st.sampled_from(rules.GROUPS), word | value.map(rules.to_text)).map("=".join)


@pytest.mark.fault("bad configuration")
@any_speed
@given(st.lists(word | assigned, max_size=4), st.booleans())
def test_any_words_are_checked_without_an_error(words: list[str], multirun: bool) -> None:
    for line in check(words, multirun):
        assert all(char.isprintable() or unicodedata.category(char) == "Zs" for char in shown_line(line))


@pytest.mark.fault("bad configuration")
@any_speed
@given(st.text())
def test_a_line_for_the_terminal_is_one_and_commands_nothing(text: str) -> None:
    """Spaces of any width are kept: a narrow one separates a number from its unit."""
    shown = shown_line(text)
    assert "".join(char for char in shown if unicodedata.category(char) != "Zs").isprintable()
    assert len(shown.splitlines()) <= 1
