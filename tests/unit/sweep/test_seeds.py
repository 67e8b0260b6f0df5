"""Sweeps of more seeds: the folder that they go to, and their device."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.cli.errors import UserError
from pipeline.models import devices
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


@pytest.mark.usefixtures("hydra_as_before")
def test_seeds_of_several_devices_are_not_trained_by_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [
        SimpleNamespace(device=devices.choose("cpu", "tensorflow", "float32", True, name, 1, 0))
        for name in ("engine", "reference")
    ]
    monkeypatch.setattr(seeds, "_plan", lambda *_: runs)
    source = Source("which", (tmp_path / "sweep",), (Sweep("which", []),), [])
    more = {("mnist", "which"): MoreSeeds(10, {"a": (1,)}, 0)}
    evidence = SimpleNamespace(more_seeds=more, source=lambda experiment: source)
    with pytest.raises(UserError, match="got cpu tensorflow engine, cpu tensorflow reference"):
        seeds.seed_sweeps(evidence, [], "")  # type: ignore[arg-type]
