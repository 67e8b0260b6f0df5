"""Names of runs within a plan, and the runs that a name matches."""

from typing import Any

import pytest

from pipeline.config.names import is_name, names
from tests.support.factory import make_job


def of(*changes: dict[str, Any]) -> list[str]:
    jobs = [make_job(**change) for change in changes]
    return [names(jobs)[job] for job in jobs]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([{"learning_rate": 0.1}, {"learning_rate": 0.01}], ["sgd-w8-d1-lr0.1-s0", "sgd-w8-d1-lr0.01-s0"]),
        ([{"train_size": 0}, {"train_size": 50}], ["sgd-w8-d1-n0-s0", "sgd-w8-d1-n50-s0"]),
        ([{"batch_size": 64}, {"batch_size": 32}], ["sgd-w8-d1-b64-s0", "sgd-w8-d1-b32-s0"]),
        ([{"epochs": 200}, {"epochs": 5}], ["sgd-w8-d1-e200-s0", "sgd-w8-d1-e5-s0"]),
        ([{"dropout": 0.5}, {"dropout": 0}], ["sgd-w8-d1-dropout0.5-s0", "sgd-w8-d1-dropout0-s0"]),
        ([{"activation": "relu"}, {"activation": "tanh", "seed": 1}], ["sgd-w8-d1-relu-s0", "sgd-w8-d1-tanh-s1"]),
        ([{"max_norm": None}, {"max_norm": 2.0}], ["sgd-w8-d1-max_normnull-s0", "sgd-w8-d1-max_norm2-s0"]),
    ],
)
def test_a_name_carries_what_differs(changes: list[dict[str, Any]], expected: list[str]) -> None:
    assert of(*changes) == expected


def test_a_name_means_each_run_that_has_its_values() -> None:
    job = make_job(learning_rate=0.1, train_size=50, activation="tanh", seed=3)
    meant = ["sgd-w8-d1-s3", "sgd-w8-d1-lr0.1-s3", "sgd-w8-d1-n50-lr0.1-s3", "sgd-w8-d1-lr0.1-n50-tanh-s3"]
    assert [name for name in meant if not is_name(name, job)] == []
    others = ["sgd-w8-d1-s1", "sgd-w8-d1-lr0.01-s3", "sgd-w8-d1-lr0.1-lr0.1-s3", "sgd-w8-d1-lr0.10-s3", "adam-w8-d1-s3"]
    no_names = ["", "-s3", "sgd", "sgd-w8-d1", "sgd-w8-d1-", "sgd-w8-d1--s3", "sgd-w8-d1-s3-s3"]
    assert [name for name in others + no_names if is_name(name, job)] == []
