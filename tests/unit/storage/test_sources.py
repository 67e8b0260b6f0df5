"""The folders of a comparison: each has its own name, and no run of one hides that of another."""

from pathlib import Path

from pipeline.storage.sources import read_sources
from pipeline.storage.store import RunStore
from tests.support import factory


def test_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folders = [tmp_path / name / "runs" for name in "abc"]
    for seed, folder in enumerate(folders):
        RunStore(folder).write(factory.finished(factory.job(seed=seed)))
    found = read_sources(folders)
    assert [source.name for source in found] == ["runs", "runs (runs)", "runs (runs 3)"]
    assert [len(source.results) for source in found] == [1, 1, 1]
