"""The files of conf/: each one composes to a valid job, and optimizers have Keras's defaults."""

import inspect
import re
from collections.abc import Iterator
from types import ModuleType

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from pipeline.config import rules
from pipeline.config.compose import VERSION_BASE, help_text, plain, problems, register, to_job
from pipeline.config.settings import meanings
from tests.unit.training.command import as_before

FILES = [(group, name) for group in rules.GROUPS for name in rules.options(group)]
DERIVED = {"momentum": {"momentum": 0.9}, "nesterov": {"momentum": 0.9, "nesterov": True}}
"""What the files of these two optimizers change in the defaults of their Keras class."""


@pytest.fixture(autouse=True, scope="module")
def _hydra_as_before() -> Iterator[None]:
    with as_before():
        register()
        yield


def composed(*words: str) -> DictConfig:
    with initialize_config_dir(str(rules.CONF), **VERSION_BASE):
        return compose("config", list(words))


@pytest.mark.parametrize(("group", "name"), FILES)
def test_every_file_composes_to_a_job(group: str, name: str) -> None:
    values = plain(composed(f"{group}={name}"))
    assert problems(values) == []
    assert to_job(values)


def test_help_has_every_value_with_what_it_means() -> None:
    lines = help_text(["model.width=64"]).splitlines()
    assert (
        lines[lines.index("model.width=64") + 1]
        == "  Units of each hidden layer. Expected: a whole number from 1 to 65,536."
    )
    assert {line.partition("=")[0] for line in lines} >= set(rules.RULES)
    assert set(dict(meanings())) == set(rules.RULES)


def test_the_book_is_the_book() -> None:
    job = to_job(plain(composed("experiment=book")))
    assert job.dataset.validation_size == 0
    assert (job.model.hidden, job.model.activation, job.model.dropout) == ((512,), "relu", 0.0)
    assert (job.training.epochs, job.training.batch_size) == (5, 128)
    assert job.training.loss == "categorical_crossentropy"
    assert job.optimizer.name == "rmsprop"
    assert job.model.kernel_initializer == "glorot_uniform"


@pytest.mark.parametrize("name", rules.options("optimizer"))
def test_hyperparameters_are_kerass_own_defaults(keras: ModuleType, name: str) -> None:
    own = inspect.signature(getattr(keras.optimizers, rules.keras_class(name))).parameters
    content = rules.content("optimizer", name)
    values = {key: content[key] for key in content if key not in ("name", "class")}
    defaults = {key: own[key].default for key in values}
    assert values == defaults | DERIVED.get(name, {})
    assert ("Keras's defaults" in (rules.CONF / "optimizer" / f"{name}.yaml").read_text()) == (name not in DERIVED)


def test_values_are_plain_yaml_in_both_of_its_versions() -> None:
    """YAML 1.1 (Hydra) reads `on` as true and 1e-3 as a string; YAML 1.2 (DVC) does the opposite."""
    for group, name in FILES:
        text = (rules.CONF / group / f"{name}.yaml").read_text()
        assert not re.search(r":\s+(on|off|yes|no|\d+e-?\d+)\s*$", text, re.MULTILINE), (group, name)
