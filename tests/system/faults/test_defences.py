"""Each defence is what makes its test pass: with it patched out, the same check fails."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import tracking
from pipeline.cli import console
from pipeline.cli.errors import DataUnavailable, UserError
from pipeline.data import download, files, idx, sources
from pipeline.storage import store
from pipeline.storage.store import RunStore
from pipeline.sweep import batch, forecast, publisher
from pipeline.tracking import process
from pipeline.tracking.tracker import Tracker
from pipeline.training.outcome import Run
from tests.system.faults import test_killed, test_locks
from tests.unit.data import loopback, test_download, test_sources, tiny
from tests.unit.data.loopback import Server
from tests.unit.storage import test_store as stored
from tests.unit.tracking.factory import make_result
from tests.unit.training.factory import make_job

Check = Callable[[Path], None]


@contextmanager
def unguarded(path: Path) -> Iterator[Path]:
    """Written under its final name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    yield path


# --- the checks: each holds as things are


def what_breaks_off_leaves_nothing(root: Path) -> None:
    with contextlib.suppress(UserError, OSError), files.whole(root / "file") as temporary:
        temporary.write_bytes(b"half")
        raise OSError(28, "No space left on device")
    assert not (root / "file").exists()


def a_run_that_breaks_off_is_not_there(root: Path) -> None:
    with contextlib.suppress(TypeError):
        RunStore(root).write(stored.result(figures={"test/accuracy": object()}))
    assert list(root.iterdir()) == []


def leftovers_of_the_dead_go(root: Path) -> None:
    (root / ".file.999999999.part").touch()
    with files.whole(root / "file") as temporary:
        temporary.touch()
    assert [path.name for path in root.iterdir()] == ["file"]


def damage_is_found(root: Path) -> None:
    runs = RunStore(root)
    runs.write(stored.result())
    np.save(runs.folder(stored.KEY) / "predictions.npy", np.zeros(3, np.uint8))
    with pytest.raises(store.DamagedRun):
        runs.read(stored.KEY)


def served(answer: loopback.Answer, check: Callable[[Server], None]) -> None:
    server = Server(dict(tiny.PACKED))
    server.answer = answer
    try:
        check(server)
    finally:
        server.close()


def flipped_bytes_are_refused(root: Path) -> None:
    def check(server: Server) -> None:
        with pytest.raises(DataUnavailable):
            test_sources.gather(sources.Https(server.url, test_sources.QUICK, loopback_http=True))

    served(loopback.flipping, check)


def trouble_is_tried_again(root: Path) -> None:
    served(loopback.failing_first(2), test_download.test_whole_file)


def plain_http_is_refused(root: Path) -> None:
    served(loopback.good, test_download.test_plain_http_is_never_asked)


def an_endless_file_is_left(root: Path) -> None:
    served(loopback.endless, test_download.test_an_endless_file_is_left)


def a_bomb_is_not_unpacked(root: Path) -> None:
    with pytest.raises(UserError, match="unpacks to more than"):
        idx.unpack(sources.compress(bytes(1_000_000)), 1000, "bomb")


def a_damaged_database_is_refused(root: Path) -> None:
    (root / "mlflow.db").write_bytes(b"")
    with pytest.raises(tracking.StoreDamaged):
        tracking.open_tracker("sqlite", root=root)


def a_run_is_published_once(root: Path) -> None:
    for _ in range(2):
        tracking.open_tracker("sqlite", root=root).publish(make_result(), "e")
    client = tracking.open_tracker("sqlite", root=root)._ready()
    assert len(client.search_runs([client.get_experiment_by_name("e").experiment_id])) == 1


def runs_of_the_dead_are_closed(root: Path) -> None:
    ours = tracking.open_tracker("sqlite", root=root)
    parent = ours.begin("e", "sweep", {})
    gone = {process.TAG: process.tag()[process.TAG].replace('"boot": "', '"boot": "an earlier one ')}
    ours.set_tags(parent, gone)
    assert ours.close_stale() == [parent]


def a_store_that_comes_back_gets_everything(root: Path) -> None:
    from tests.unit.sweep.test_publisher import KEYS, Swept
    from tests.unit.sweep.test_publisher import Tracker as Noting

    with pytest.MonkeyPatch.context() as patch:
        if publisher.RETRY_SECONDS == 5.0:
            patch.setattr(publisher, "RETRY_SECONDS", 0.0)
        assert Swept(Noting(KEYS[1], tracking.TrackingUnavailable("away"), times=1), root).missing is None  # type: ignore[arg-type]


def too_large_a_network_is_refused(root: Path) -> None:
    assert batch.memory_problems(make_job(hidden=[65536] * 32), 784, 10)


def no_number_is_diverged(root: Path) -> None:
    run = Run(0, make_job(), "val")
    run.add_epoch(run.metrics_of([float("nan"), 0, 1, 0, 1, 0]))
    assert run.non_finite == "running/loss is nan after epoch 1"


def room_is_looked_for(root: Path) -> None:
    (root / "taken").touch()
    with pytest.raises(UserError, match="is not a folder"):
        forecast.check_room([planned()], {"paths.runs": root / "taken" / "here"})


def planned() -> Any:
    from types import SimpleNamespace

    return SimpleNamespace(job=make_job(), arrays=tiny.arrays())


def a_full_disk_has_a_remedy(root: Path) -> None:
    said = io.StringIO()

    def full(argv: Any) -> int:
        raise OSError(28, "No space left on device")

    with contextlib.redirect_stderr(said), pytest.raises(SystemExit):
        console.run(full, [])
    assert "make room on that disk" in said.getvalue()


DEFENCES: list[tuple[str, Check, object, str, object]] = [
    ("SIGKILL", what_breaks_off_leaves_nothing, files, "whole", unguarded),
    ("SIGKILL", a_run_that_breaks_off_is_not_there, store, "whole", unguarded),
    ("SIGKILL", leftovers_of_the_dead_go, files, "clear_leftovers", lambda folder: None),
    ("SIGKILL", runs_of_the_dead_are_closed, process, "dead", lambda tags: False),
    ("mirrors misbehave", flipped_bytes_are_refused, sources, "checked", lambda file, data: data),
    (
        "mirrors misbehave",
        trouble_is_tried_again,
        download,
        "_described",
        lambda error, limits: download.MirrorFailed("x"),
    ),
    ("mirrors misbehave", plain_http_is_refused, download, "is_https", lambda *_: True),
    (
        "mirrors misbehave",
        an_endless_file_is_left,
        download._Attempt,
        "write",
        lambda self, chunk: (setattr(self, "until", 0.0), self.response.close(), len(chunk))[2],
    ),
    ("bombs and trailing bytes", a_bomb_is_not_unpacked, idx, "unpack", lambda data, size, name: b""),
    ("disk full", room_is_looked_for, forecast, "check_room", lambda *_: None),
    ("disk full", a_full_disk_has_a_remedy, console, "REMEDIES", {}),
    ("stored result damaged", damage_is_found, store, "array_digest", lambda array: "0" * 64),
    ("SQLite damaged", a_damaged_database_is_refused, tracking, "check", lambda database: None),
    ("two sweeps at once", a_run_is_published_once, Tracker, "_find", lambda *_: None),
    ("tracking server", a_store_that_comes_back_gets_everything, publisher, "RETRY_SECONDS", 1e9),
    ("NaN and infinity", no_number_is_diverged, Run, "non_finite", None),
    ("out of memory", too_large_a_network_is_refused, batch, "_memory", lambda: None),
]


@pytest.fixture(autouse=True)
def own_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, blank_store: Path) -> Path:
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.mark.parametrize(
    ("row", "check", "where", "name", "instead"),
    DEFENCES,
    ids=[f"{row}: {check.__name__}" for row, check, *_ in DEFENCES],
)
def test_a_defence_is_what_makes_its_check_pass(
    own_store: Path,
    tmp_path: Path,
    blank_store: Path,
    monkeypatch: pytest.MonkeyPatch,
    row: str,
    check: Check,
    where: object,
    name: str,
    instead: object,
) -> None:
    with_store = {a_run_is_published_once, runs_of_the_dead_are_closed}
    for attempt in ("guarded", "unguarded"):
        root = tmp_path / attempt
        root.mkdir()
        if check in with_store:
            (root / "mlflow.db").write_bytes(blank_store.read_bytes())
        if attempt == "guarded":
            check(root)
    monkeypatch.setattr(where, name, instead)
    with pytest.raises((AssertionError, pytest.fail.Exception, UserError, download.MirrorFailed, OSError)):
        check(tmp_path / "unguarded")


# --- those that need a process of their own


def without(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, prelude: str) -> None:
    monkeypatch.setattr(module, name, prelude + getattr(module, name))


def test_without_the_watch_a_stage_outlives_its_dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "guarded").mkdir()
    test_killed.ends_with_its_dvc(tmp_path / "guarded")
    without(
        monkeypatch, test_killed, "STAGE", "from pipeline.cli import console\nconsole.end_with_dvc = lambda: None\n"
    )
    (tmp_path / "unguarded").mkdir()
    with pytest.raises(AssertionError):
        test_killed.ends_with_its_dvc(tmp_path / "unguarded")


def test_without_the_second_handler_the_second_time_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    prelude = "from pipeline.cli import console\nconsole._stop_at_once = lambda *_: None\n"
    without(monkeypatch, test_killed, "TWICE", prelude)
    monkeypatch.setattr(test_killed, "PATIENCE", 1.0)
    with pytest.raises((AssertionError, test_killed.subprocess.TimeoutExpired)):
        test_killed.test_the_second_time_is_immediate("SIGINT", "SIGINT")


def test_without_the_hook_a_signal_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    prelude = "import sys\nfrom pipeline import console\nconsole._stop_again = sys.__unraisablehook__\n"
    without(monkeypatch, test_killed, "IGNORED", prelude)
    monkeypatch.setattr(test_killed, "PATIENCE", 1.0)
    with pytest.raises((AssertionError, test_killed.subprocess.TimeoutExpired)):
        test_killed.heeded()


def test_without_the_look_at_dvc_lock_no_repair_is_named(
    tmp_path: Path,
) -> None:
    made = test_locks.make_repository(tmp_path / "repository")
    script = made / "scripts" / "run.py"
    script.write_text(script.read_text().replace("if trouble := trouble_of_lock():", "if trouble := None:"))
    (made / ".dvc").mkdir()
    with pytest.raises(AssertionError):
        test_locks.names_its_repair(made, test_locks.emptied)
