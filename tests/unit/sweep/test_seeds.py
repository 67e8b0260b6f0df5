"""Sweeps of more seeds: the folder that they go to."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.statistics.seeds import MoreSeeds
from pipeline.storage.sources import Source
from pipeline.storage.sweeps import Sweep
from pipeline.sweep import seeds


@pytest.mark.usefixtures("hydra_as_before")
@pytest.mark.parametrize(
    ("compared", "target"),
    [(["sweep"], "sweep-10-seeds"), (["sweep", "sweep-10-seeds"], "sweep-10-seeds-more")],
)
def test_new_seeds_go_to_a_folder_that_is_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compared: list[str], target: str
) -> None:
    monkeypatch.setattr(seeds, "_plan", lambda *_: ())
    source = Source("which", tuple(tmp_path / name for name in compared), (Sweep("which", []),), [])
    more = {("mnist", "which"): MoreSeeds(10, {"a": (1,)}, 0)}
    evidence = SimpleNamespace(more_seeds=more, source=lambda experiment: source)
    [found] = seeds.seed_sweeps(evidence, [], "")  # type: ignore[arg-type]
    assert found.folder == tmp_path / target
