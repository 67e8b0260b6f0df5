"""`conf/comparison.yaml`: what it says, and what it may not say."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.cli.errors import UserError
from pipeline.config.rules import CONF
from pipeline.statistics.declaration import OPTIMIZERS, declare, load


def values(**changed):
    return yaml.safe_load((CONF / "comparison.yaml").read_text("utf-8")) | changed


def complaint(**changed) -> str:
    with pytest.raises(UserError) as error:
        declare(values(**changed))
    return str(error.value)


def test_points_become_shares(declared):
    assert declared.margin == {"test_accuracy": 0.001, "gap_accuracy": 0.001, "gap_loss": 0.005}
    assert declared.minimum_effect["gap_accuracy"] == 0.001


def test_an_unknown_key_is_refused_and_the_nearest_named():
    assert complaint(alhpa=0.05) == "comparison: alhpa=0.05: no such key (did you mean 'alpha'?)"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("alpha", 0.6),
        ("alpha", True),
        ("confidence", 95),
        ("power", float("nan")),
        ("seeds_to_explore", 10.5),
        ("permutations", 10),
        ("claim_test", "t"),
        ("contrasts", [OPTIMIZERS, OPTIMIZERS]),
    ],
)
def test_a_value_out_of_range_is_refused_with_key_and_value(key, value):
    assert f"{key}={value}".lower().replace("none", "null") in complaint(**{key: value}).lower()


@pytest.mark.parametrize("part", ["margin", "minimum_effect", "effect_to_find"])
@pytest.mark.parametrize("size", [0, -0.1, "wide", None])
def test_a_size_is_over_zero(part, size):
    sizes = {**values()[part], "gap_loss": size}
    assert f"{part}.gap_loss=" in complaint(**{part: sizes})


def test_no_difference_may_be_claimed_and_equivalent_at_once():
    sizes = {**values()["minimum_effect"], "gap_accuracy": 0.05}
    assert "minimum_effect.gap_accuracy=0.05: expected at least margin.gap_accuracy, 0.1" in complaint(
        minimum_effect=sizes
    )


def test_the_effect_to_find_is_over_the_minimum():
    sizes = {**values()["effect_to_find"], "test_accuracy": 0.1}
    assert "effect_to_find.test_accuracy=0.1: expected more than minimum_effect.test_accuracy, 0.1" in complaint(
        effect_to_find=sizes
    )


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "alpha: [", "\tx"])
def test_a_file_that_says_nothing_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "comparison.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"comparison\.yaml"):
        load(path)
