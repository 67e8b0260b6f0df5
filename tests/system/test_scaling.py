"""docs/scaling.md: its options are the launchers'."""

from __future__ import annotations

from dataclasses import fields

from hydra_plugins.batched_launcher.batched_launcher import BatchedSlurmConf
from tests.support.clone import CHECKOUT

PAGE = (CHECKOUT / "docs" / "scaling.md").read_text("utf-8")


def test_each_option_is_on_the_page() -> None:
    options = {field.name for field in fields(BatchedSlurmConf)} - {"_target_", "_convert_"}
    assert {name for name in options if f"`{name}`" not in PAGE} == set()
