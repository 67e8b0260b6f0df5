"""RunConfig: its plain values and name, and what makes two of them equal."""

import json
from typing import Any

import pytest

from pipeline.config import rules
from pipeline.config.compose import to_job
from pipeline.config.run_config import RunConfig, digest
from tests.support.factory import make_job, settings


@pytest.mark.parametrize("optimizer", rules.options("optimizer"))
def test_a_job_comes_back_from_its_plain_values(optimizer: str) -> None:
    job = make_job(optimizer, hidden=[300, 100], seed=2**64 - 1)
    assert RunConfig.from_dict(json.loads(json.dumps(job.to_dict()))) == job


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "sgd-w8-d1-s0"),
        ({"seed": 3, "width": 512, "depth": 2}, "sgd-w512-d2-s3"),
        ({"hidden": [512, 256]}, "sgd-w512x256-s0"),
        ({"hidden": [32, 32, 32]}, "sgd-w32-d3-s0"),
        ({"optimizer": "schedule_free_adamw", "hidden": [1]}, "schedule_free_adamw-w1-d1-s0"),
    ],
)
def test_a_name_is_what_a_person_reads(changes: dict[str, Any], name: str) -> None:
    assert make_job(**changes).name == name


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_digest_has_no_numbers_that_are_none(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        digest({"a": value})


def test_a_default_is_no_part_of_the_plain_values_and_of_no_key() -> None:
    """A field that a later release adds therefore does not change the keys of existing runs."""
    old = {"name": "digits", "validation_size": 100}
    plain = make_job(validation="last").to_dict()
    assert plain["dataset"] == old
    assert RunConfig.from_dict(plain).dataset.label_noise == 0
    assert make_job(label_noise=0.1, validation="last").to_dict()["dataset"] == old | {"label_noise": 0.1}
    assert make_job(validation="last").flat()["dataset.label_noise"] == 0


def test_a_job_does_not_see_paths_tracking_and_device() -> None:
    elsewhere = settings(data="/elsewhere", runs="/elsewhere", question="another", workers=7, uri="http://localhost")
    assert to_job(elsewhere) == to_job(settings())
