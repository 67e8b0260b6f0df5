"""The key of a run: what changes it and what does not."""

import dataclasses
from dataclasses import replace
from typing import Any

import pytest

from pipeline.config.run_config import RunConfig, digest
from pipeline.models.devices import Device
from pipeline.storage.identity import identity, key_of
from tests.support.factory import make_job

CPU = Device("cpu", "tensorflow", "float32", True, "engine", workers=2, stack=1)
DATA = digest("data")


def key(job: RunConfig | None = None, device: Device = CPU, data: str = DATA) -> str:
    return key_of(job or make_job(), identity(data, device.numerics()))


KEY, JOB = key(), make_job("adam")


def test_a_key_is_for_good() -> None:
    """Keys name the folders of all stored runs. If keys were computed differently, no stored run would be found."""
    made_of = {"data": DATA, "source": DATA, "numerics": {"backend": "jax", "stack": 4, "xla": True}}
    assert key_of(JOB, made_of) == "ca1eac56f8b960074cbdbef1612384fcf69397772dcb9f6d602e0661cee08f32"


@pytest.mark.parametrize("section", ["dataset", "model", "optimizer", "training"])
def test_every_part_of_a_job_is_in_the_key(section: str) -> None:
    """Changes every field of a section, so that fields added later are covered too."""
    part = getattr(JOB, section)
    others = {field.name: (1,) if getattr(part, field.name) == () else () for field in dataclasses.fields(part)}
    changed = [replace(JOB, **{section: replace(part, **{name: other})}) for name, other in others.items()]
    assert len({key(JOB), *map(key, changed)}) == 1 + len(changed)


@pytest.mark.parametrize(
    "changes",
    [{"kind": "gpu"}, {"precision": "float64"}, {"xla": False}, {"trainer": "reference"}, {"stack": 4}],
    ids=str,
)
def test_the_numerics_are_in_the_key(changes: dict[str, Any]) -> None:
    assert key(device=replace(CPU, **changes)) != KEY
