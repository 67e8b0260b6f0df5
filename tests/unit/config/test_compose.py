"""Composed configurations: values, combinations and sizes that cannot train are refused with a message."""

from typing import Any

import pytest
from omegaconf import OmegaConf

from pipeline.cli.errors import UserError
from pipeline.config import rules
from pipeline.config.compose import ConfigurationError, composed, plain, problems, to_job
from tests.support.factory import settings

BAD: list[tuple[dict[str, Any], str]] = [
    # Values from files; test_commandline.py has those from the command line.
    ({"width": True}, "model.width=true: "),
    ({"hidden": [8] * 33}, "a list of 1 to 32 whole numbers"),
    ({"dropout": float("nan")}, "model.dropout=nan: "),
    ({"learning_rate": "0.1"}, "optimizer.learning_rate=0.1: "),
    ({"nesterov": True, "momentum": 0.0}, "optimizer.nesterov=true: needs optimizer.momentum over 0"),
    ({"kernel_stddev": 0.1}, "model.kernel_stddev=0.1: needs model.kernel_initializer to be one of random_normal, "),
    ({"validation": "first"}, "dataset.validation=first: expected one of random, last"),
    ({"tags": {"stage": [1]}}, "tags={'stage': [1]}: expected a list of words such as [paper,final], or names with"),
    ({"label_noise": 1.0}, "dataset.label_noise=1.0: expected a number of at least 0 and under 1"),
    ({"label_smoothing": 0.1, "loss": "mean_squared_error"}, "needs training.loss=categorical_crossentropy"),
    ({"patience": 1, "validation_size": 0}, "training.patience=1: needs dataset.validation_size over 0"),
    (
        {"decay_epochs": 1, "schedule": "cosine"},
        "training.decay_epochs=1: needs training.schedule to be one of staircase",
    ),
    ({"decay": 0.5, "schedule": "staircase"}, "training.decay=0.5: needs training.decay_epochs"),
    ({"schedule": "exponential"}, "training.schedule=exponential: needs training.decay_epochs over 0"),
    ({"schedule": "piecewise"}, "training.schedule=piecewise: needs training.boundaries and training.factors"),
    ({"schedule": "piecewise", "boundaries": [1, 2], "factors": [0.1]}, "one factor for each in training.factors"),
    ({"boundaries": [1]}, "training.boundaries=[1]: needs training.schedule=piecewise"),
    ({"factors": [-1]}, "a list of at most 32 numbers"),
    ({"warmup_epochs": 5}, "training.warmup_epochs=5: needs more training.epochs than that, got 5"),
    ({"question": "a\0b"}, "expected a text"),
    ({"results": ""}, "paths.results=: expected a text, or null"),
]


@pytest.mark.parametrize(("changes", "expected"), BAD, ids=lambda value: str(value)[:40])
def test_refused(changes: dict[str, Any], expected: str) -> None:
    [problem] = problems(settings(**changes))
    assert expected in problem
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("section", "changes", "expected"),
    [
        ("dataset", {"name": "my data"}, "dataset.name=my data: expected a name of at most 64 letters"),
        ("dataset", {"name": 2024}, "dataset.name=2024: expected a name"),
        ("optimizer", {"name": "sgd.fast"}, "optimizer.name=sgd.fast: expected a name"),
        ("optimizer", {"class": None}, "optimizer.class=null: expected a name"),
        ("optimizer", {"my rate": 0.1}, "optimizer.my rate: expected a name"),
        ("model", {"build": "my_code.net"}, "model.name=null: expected a name"),
        ("model", {"build": "my_code.", "name": "net"}, "model.build=my_code.: expected a name"),
    ],
)
def test_a_name_that_no_record_may_hold_is_refused_before_training(
    section: str, changes: dict[str, Any], expected: str
) -> None:
    values = settings()
    values[section] |= changes
    [problem] = problems(values)
    assert problem.startswith(expected)


@pytest.mark.parametrize(("section", "key"), [("model", "width"), ("optimizer", "learning_rate"), ("device", "xla")])
def test_a_key_that_is_missing_is_named(section: str, key: str) -> None:
    values = settings()
    del values[section][key]
    assert problems(values) == [f"{section}.{key}: missing"]


def test_all_problems_are_in_the_error() -> None:
    with pytest.raises(ConfigurationError) as caught:
        to_job(settings(width=0, epochs=0, seed=-1))
    assert [line.partition("=")[0] for line in caught.value.lines] == ["model.width", "training.epochs", "seed"]
    assert isinstance(caught.value, UserError)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"a": "${b}", "b": "${a}"}, "a: "),
        ({"a": "${a}"}, "a: "),
        ({"a": {"b": "${nowhere}"}}, "a.b: "),
        ({"a": "${nonsense:1}"}, "a: "),
        ({"a": "???"}, "a: "),
    ],
    ids=str,
)
def test_what_cannot_be_resolved_is_named(values: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        plain(OmegaConf.create(values))
    [line] = caught.value.lines
    assert line.startswith(expected)


def test_each_optimizer_gets_its_rate_at_its_width() -> None:
    names = [(optimizer, width) for optimizer in ("sgd", "adam") for width in (16, 512)]
    words = [["sweep=overfitting", f"optimizer={name}", f"model.width={width}"] for name, width in names]
    rates = [values["optimizer"]["learning_rate"] for values in composed(words)]
    assert rates == [rules.tuned_rates()[name][width] for name, width in names]
    assert rates[0] != rates[2], "sgd and adam"


def test_a_width_that_is_not_tuned_is_refused() -> None:
    words = ["sweep=overfitting", "optimizer=adam", "model.width=33"]
    with pytest.raises(
        ConfigurationError, match=r"^optimizer.learning_rate: conf/tuned\.yaml: no rate for adam at width 33"
    ):
        composed([words])
