"""`conf/comparison.yaml`: which keys and values are accepted, and which are refused."""

from pathlib import Path

import pytest
import yaml

from pipeline.cli.errors import UserError
from pipeline.config.rules import CONF
from pipeline.statistics.declaration import declare, load


def values(**changed):
    return yaml.safe_load((CONF / "comparison.yaml").read_text("utf-8")) | changed


def complaint(**changed) -> str:
    with pytest.raises(UserError) as error:
        declare(values(**changed))
    return str(error.value)


def test_an_unknown_key_is_refused_and_the_nearest_named():
    assert complaint(alhpa=0.05) == "comparison: alhpa: no such key (did you mean 'alpha'?)"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("alpha", 0.6),
        ("power", 95),
        ("power", float("nan")),
        ("seeds_to_explore", 10.5),
        ("permutations", 10),
        ("training_losses", [0.1, 0.3]),
    ],
)
def test_a_value_out_of_range_is_refused_with_key_and_value(key, value):
    assert f"{key}={value}".lower() in complaint(**{key: value}).lower()


@pytest.mark.parametrize("factor", ["optimizer", "model.dropout", "optimizer.learning_rate", "dataset.train_size"])
def test_any_value_of_conf_can_have_a_reference(factor):
    assert declare(values(references={"default": "default", factor: 0.5})).reference(factor) == 0.5


def test_a_reference_of_what_there_is_not_is_refused():
    assert "references.model.droput: no such key" in complaint(references={"default": "default", "model.droput": 0.5})
    assert "references.model.dropout=[0, 1]: expected a value" in complaint(
        references={"default": "default", "model.dropout": [0, 1]}
    )


@pytest.mark.parametrize("text", ["", "alpha: ["])
def test_a_file_that_says_nothing_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "comparison.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"comparison\.yaml"):
        load(path)
