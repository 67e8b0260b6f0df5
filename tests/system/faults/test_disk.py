"""Full disks, read-only folders and file size limits, on real file systems of a few megabytes."""

import resource
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from pipeline import fetch, preprocess
from pipeline.sweep import disk_space
from pipeline.training.result import FINISHED
from tests.system.faults.conftest import Disk
from tests.system.faults.sound import assert_files_whole, assert_sound
from tests.system.faults.workspace import SMALL, Workspace, last_line
from tests.unit.training.command import said

FULL = pytest.mark.fault("disk full")
WIDE = "[4096]"
"""A network whose weights alone do not fit on a disk of one megabyte."""


@FULL
def test_a_disk_that_is_too_small_is_named_before_training(disk: Callable[[int], Disk], processed: Path) -> None:
    small = disk(1)
    place = Workspace(small.path, processed)
    said = place.train(f"model.hidden={WIDE}", "training.epochs=1")
    line = last_line(said.err)
    assert said.status == 2
    assert "MB are free there, and the runs leave about" in line
    assert line.endswith("make room, or name another place")
    assert "epoch" not in said.out
    assert not (place.root / "runs").exists()


@pytest.mark.slow
@FULL
@pytest.mark.usefixtures("keras")
def test_a_disk_that_fills_up_while_runs_train(
    disk: Callable[[int], Disk], processed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finished runs are kept, and the same command continues once there is room again."""
    monkeypatch.setattr(disk_space, "check", lambda *_: None)  # as if the disk filled up after the check
    small = disk(5)
    place = Workspace(small.path, processed)
    words = [*SMALL, f"hydra.sweep.dir={place.processed}/../sweep"]  # Hydra's own files are on another disk
    assert place.train(*words).status == 0
    before = place.store.keys()
    small.fill(left=30_000)
    said = place.train(*words, "seed=range(12)")
    assert said.status == 2
    told = "cannot be written (No space left on device); make room on that disk; what is finished is kept"
    assert told in last_line(said.err)
    assert_files_whole(place.root)
    assert {*before} <= {*place.store.keys()}
    (small.path / "filler").unlink()
    assert place.train(*words, "seed=range(12)").status == 0
    assert [run.status for run in place.runs] == [FINISHED] * 12
    assert_sound(place)


@pytest.mark.slow
@FULL
@pytest.mark.usefixtures("keras")
def test_a_disk_that_fills_up_under_mlflow(
    disk: Callable[[int], Disk], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_space, "check", lambda *_: None)
    small = disk(5)
    uri = f"tracking.uri=sqlite:///{small.path}/mlflow.db"
    assert workspace.tracked(*SMALL, uri).status == 0
    small.fill(left=20_000)
    said = workspace.tracked(*SMALL, "seed=range(6)", uri)
    assert said.status == 5
    assert "not in MLflow yet: " in last_line(said.err)
    assert len(workspace.store.keys()) == 6, "results are on disk all the same"
    (small.path / "filler").unlink()
    assert workspace.tracked(*SMALL, "seed=range(6)", uri).status == 0
    assert_sound(Workspace(small.path, workspace.processed))


@FULL
@pytest.mark.parametrize("module", [fetch, preprocess], ids=["fetch", "preprocess"])
def test_data_that_does_not_fit_is_named_and_leaves_nothing(
    disk: Callable[[int], Disk], processed: Path, tmp_path: Path, module: ModuleType
) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "digits").symlink_to(processed.parent / "raw")
    small = disk(1)
    small.fill(left=30_000)
    words = [f"{key}={small.path}/{key}" for key in ("processed", "card", "samples")]
    words = [f"raw={small.path}/raw"] if module is fetch else [f"raw={tmp_path}/raw", *words]
    done = said(module.main, "dataset=digits", *words)
    assert done.status == 2
    assert "cannot be written (No space left on device); make room on that disk" in last_line(done.err)
    assert [path for path in small.path.rglob("*") if path.is_file() and path.name != "filler"] in (
        [],
        list(small.path.rglob("raw/digits/*.gz")),
    )
    assert_files_whole(small.path)


@FULL
@pytest.mark.usefixtures("keras")
def test_a_limit_on_the_size_of_files_is_named(workspace: Workspace) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        said = workspace.train("model.width=400", "training.epochs=1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert said.status == 2
    assert "cannot be written (File too large); allow larger files (ulimit -f)" in last_line(said.err)
    assert workspace.train("model.width=400", "training.epochs=1").status == 0
    assert_sound(workspace)


@FULL
@pytest.mark.parametrize("key", ["paths.runs", "paths.results"])
def test_a_folder_that_may_not_be_written_to_is_named(
    disk: Callable[[int], Disk], workspace: Workspace, key: str
) -> None:
    small = disk(1)
    small.mount("remount,ro")
    said = workspace.train(*SMALL, f"{key}={small.path}/here")
    assert (said.status, said.out) == (2, "")
    assert last_line(said.err) == (
        f"error: {key}={small.path}/here: {small.path} may not be written to by this user; make it so, or name another place"
    )
