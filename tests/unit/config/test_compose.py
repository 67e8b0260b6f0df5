"""Composed configurations: values, combinations and sizes that cannot train, in words."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from pipeline.cli.errors import UserError
from pipeline.config.compose import ConfigurationError, against_data, plain, problems, to_job
from tests.unit.training.factory import make_job, settings

BAD: list[tuple[dict[str, Any], str]] = [
    ({"width": 0}, "model.width=0: expected a whole number from 1 to 65,536"),
    ({"width": True}, "model.width=true: "),
    ({"width": 8.0}, "model.width=8.0: "),
    ({"depth": -5}, "model.depth=-5: "),
    ({"hidden": []}, "model.hidden=[]: "),
    ({"hidden": [300, 0]}, "model.hidden=[300, 0]: "),
    ({"hidden": [8] * 33}, "a list of 1 to 32 whole numbers"),
    ({"activation": "rleu"}, "did you mean 'relu'"),
    ({"activation": None}, "model.activation=null: "),
    ({"dropout": 1.0}, "at least 0 and under 1"),
    ({"dropout": float("nan")}, "model.dropout=nan: "),
    ({"kernel_initializer": "he"}, "one of glorot_uniform, "),
    ({"learning_rate": float("inf")}, "optimizer.learning_rate=inf: "),
    ({"learning_rate": float("nan")}, "optimizer.learning_rate=nan: "),
    ({"learning_rate": 0}, "a number over 0 and at most 1000"),
    ({"learning_rate": "0.1"}, "optimizer.learning_rate=0.1: "),
    ({"weight_decay": -0.1}, "or null"),
    ({"momentum": 1.0}, "optimizer.momentum=1.0: "),
    ({"nesterov": "yes"}, "true or false"),
    ({"nesterov": True, "momentum": 0.0}, "optimizer.nesterov=true: needs optimizer.momentum over 0"),
    ({"epochs": 0}, "training.epochs=0: "),
    ({"epochs": 10_001}, "from 1 to 10,000"),
    ({"batch_size": -128}, "training.batch_size=-128: "),
    ({"loss": "mse"}, "one of categorical_crossentropy, "),
    ({"curve_samples": -1}, "training.curve_samples=-1: "),
    ({"validation_size": -1}, "dataset.validation_size=-1: "),
    ({"seed": -1}, "seed=-1: expected a whole number from 0 to 18,446,744,073,709,551,615"),
    ({"seed": 2**64}, "seed=18446744073709551616: "),
    ({"seed": None}, "seed=null: "),
    ({"backend": "torch"}, "one of tensorflow, jax"),
    ({"precision": "float46"}, "did you mean 'float64'"),
    ({"workers": -1}, "device.workers=-1: "),
    ({"stack": 10**6}, "device.stack=1000000: "),
    ({"xla": None}, "device.xla=null: expected true or false"),
    ({"trainer": "fit"}, "one of engine, reference"),
    ({"question": ""}, "question=: expected a text"),
    ({"question": " "}, "expected a text"),
    ({"question": "a\0b"}, "expected a text"),
    ({"results": ""}, "paths.results=: expected a text, or null"),
    ({"runs": 3}, "paths.runs=3: expected a text"),
]


@pytest.mark.parametrize(("changes", "expected"), BAD, ids=lambda value: str(value)[:40])
def test_refused(changes: dict[str, Any], expected: str) -> None:
    [problem] = problems(settings(**changes))
    assert expected in problem
    assert "\n" not in problem


@pytest.mark.parametrize(
    "changes",
    [
        {"nesterov": True, "momentum": 0.9},
        {"hidden": [8] * 32},
        {"seed": 2**64 - 1},
        {"learning_rate": 1000},
        {"weight_decay": 0},
        {"dropout": 0.999},
        {"results": "results/sweep"},
    ],
    ids=str,
)
def test_accepted(changes: dict[str, Any]) -> None:
    assert problems(settings(**changes)) == []


def test_an_unknown_optimizer_is_said_alone() -> None:
    values = settings()
    values["optimizer"] = {"name": "adm"}
    [problem] = problems(values)
    assert problem.startswith("optimizer=adm: expected one of adadelta, ")
    assert "did you mean 'adam'" in problem


def test_an_unknown_key_is_refused_with_the_nearest() -> None:
    values = settings()
    values["model"]["widht"] = 3
    assert problems(values) == ["model.widht: no such key (did you mean 'model.width'?)"]


def test_a_key_of_another_optimizer_is_refused() -> None:
    values = settings("rmsprop")
    values["optimizer"]["beta_1"] = 0.9
    [problem] = problems(values)
    assert problem.startswith("optimizer.beta_1: no such key of rmsprop")


@pytest.mark.parametrize(("section", "key"), [("model", "width"), ("optimizer", "momentum"), ("device", "xla")])
def test_a_key_that_is_missing_is_named(section: str, key: str) -> None:
    values = settings()
    del values[section][key]
    assert problems(values) == [f"{section}.{key}: missing"]


def test_all_problems_are_in_the_error() -> None:
    with pytest.raises(ConfigurationError) as caught:
        to_job(settings(width=0, epochs=0, seed=-1))
    assert [line.partition("=")[0] for line in caught.value.lines] == ["model.width", "training.epochs", "seed"]
    assert isinstance(caught.value, UserError)


def test_a_problem_of_many_jobs_is_said_once() -> None:
    assert ConfigurationError(["a", "b", "a"]).lines == ["a", "b"]


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


def test_interpolations_are_resolved() -> None:
    assert plain(OmegaConf.create({"a": 3, "b": "${a}"})) == {"a": 3, "b": 3}


@pytest.mark.parametrize(
    ("held_out", "batch", "expected"),
    [
        (0, 100, []),
        (99, 1, []),
        (100, 1, ["dataset.validation_size=100: expected under 100, the training samples of digits"]),
        (10_000, 1, ["dataset.validation_size=10000: expected under 100, the training samples of digits"]),
        (0, 101, ["training.batch_size=101: expected at most 100, the training samples left"]),
        (60, 41, ["training.batch_size=41: expected at most 40, the training samples left"]),
        (60, 40, []),
    ],
)
def test_sizes_are_held_against_the_data(held_out: int, batch: int, expected: list[str]) -> None:
    assert against_data(make_job(validation_size=held_out, batch_size=batch), training_samples=100) == expected
