"""docs/scaling.md: its table is the model's, its options are the launchers', its commands are run by the tests named here."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields

import pytest

from benchmarks import scaling
from hydra_plugins.cluster_launcher.cluster_launcher import BatchedSlurmConf
from pipeline.config import commandline
from tests.support.clone import CHECKOUT

PAGE = (CHECKOUT / "docs" / "scaling.md").read_text("utf-8")
TESTS = {
    "python -m pipeline.train -m hydra/launcher=batched_slurm hydra.launcher.partition=main": (
        "tests/system/test_slurm.py::test_the_bits_are_those_of_one_machine"
    ),
    "python -m pipeline.train -m hydra/launcher=batched_slurm hydra.launcher.gpus_per_share=1": (
        "tests/unit/sweep/test_gpus.py::test_shards_with_a_gpu_have_the_keys_of_a_gpu_though_there_is_none_here"
    ),
    "python tests/support/slurm_node.py start": "tests/system/test_slurm.py::test_the_script_starts_and_stops_a_node",
    "python tests/support/slurm_node.py stop": "tests/system/test_slurm.py::test_the_script_starts_and_stops_a_node",
}
"""The test that runs each command, by how it begins."""


def commands() -> list[str]:
    return [line for block in re.findall(r"(?ms)^```bash\n(.*?)^```", PAGE) for line in block.splitlines() if line]


def test_the_table_is_the_model_s() -> None:
    assert "\n".join(["", *scaling.table(100_000, [8, 64, 512]), ""]) in PAGE


def test_each_command_has_its_test() -> None:
    assert commands()
    for command in commands():
        [test] = [test for start, test in TESTS.items() if command.startswith(start)]
        path, _, name = test.partition("::")
        assert f"def {name}(" in (CHECKOUT / path).read_text("utf-8")


@pytest.mark.parametrize("command", [command for command in commands() if "pipeline.train" in command])
def test_the_words_are_valid_as_they_stand(command: str) -> None:
    assert commandline.check(shlex.split(command)[3:], True) == []


def test_each_option_is_on_the_page() -> None:
    options = {field.name for field in fields(BatchedSlurmConf)} - {"_target_"}
    assert {name for name in options if f"`{name}`" not in PAGE} == set()


def test_the_slowest_step_sets_the_pace() -> None:
    slow = scaling.Sweep(1000, 1, scaling.Costs(on_a_card=10.0))
    assert slow.training == 10_000
    assert slow.whole == pytest.approx(slow.composing + slow.scheduling + 10_000 + slow.comparing)
    assert scaling.Sweep(1000, 1000).shares == 1000
