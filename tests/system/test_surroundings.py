"""Results do not depend on the checkout's path, the user's permissions and locale, the clock or the terminal."""

import os
import resource
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli.console import PROJECT
from pipeline.tracking import describe
from pipeline.tracking.address import resolve
from tests.support.factory import make_result
from tests.unit.training.command import Place
from tests.unit.training.trainer import bits

ODD = """with space it's a "quote" déjà vu emoji 🧪 dollar$HOME;x&y =a,b [br]{ace}* back\\slash #"""
SMALL = ["optimizer=adam", "model.width=4", "training.epochs=1", "device.xla=false", "question=tests"]
ELSEWHERE = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "TZ": "Pacific/Kiritimati"}


def restricted() -> None:
    """Deny group and others all access, limit open files to 64 and detach from the terminal."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    os.setsid()


@pytest.mark.slow
@pytest.mark.fault("surroundings")
@pytest.mark.usefixtures("keras")
def test_the_same_run_comes_out_elsewhere(tmp_path: Path, processed: Path) -> None:
    """Elsewhere: a path with odd characters, reached through a symlink, no HOME, another locale and time zone."""
    (tmp_path / "project").mkdir()
    here = Place(tmp_path / "project", processed)
    assert here.train(*SMALL).status == 0
    checkout = tmp_path / ODD / "clone"
    for name in ("pipeline", "hydra_plugins", "conf"):
        shutil.copytree(PROJECT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "link").symlink_to(checkout)
    place = Place(tmp_path / "results é", processed)
    own = [f"{key}='{value}'" for key, _, value in (word.partition("=") for word in place.words)]
    kept = ("PATH", "OVERFITTING_GAP_CACHE", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.train", *own, *SMALL],
        cwd=tmp_path / "link",
        env=environment | ELSEWHERE | {"PYTHONPATH": str(tmp_path / "link"), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        preexec_fn=restricted,
    )
    assert (done.returncode, done.stderr) == (0, "")
    [run] = place.runs
    assert bits(run) == bits(here.runs[0])
    assert run.metrics["time/train_s"] > 0
    others = [path for path in place.root.rglob("*") if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert others == []


@pytest.mark.fault("surroundings")
@pytest.mark.parametrize(("name", "character"), [("50%41", "'%41'"), ("what?", r"'\?'")])
def test_a_name_that_mlflow_cannot_keep_a_store_in_is_refused(name: str, character: str, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=f"cannot keep a store in a path with {character} in it; rename the folder"):
        resolve("sqlite", None, tmp_path / name, {})


@pytest.mark.fault("clock")
@pytest.mark.parametrize(
    "started", ["1970-01-01T00:00:00+00:00", "1969-12-31T23:00:00+00:00", "1970-01-01T00:00:05", ""]
)
def test_a_run_of_1970_neither_ends_before_it_began_nor_before_time(started: str) -> None:
    start, end = describe.span(make_result(started=started, metrics={"time/train_s": 6.0}))
    assert 1 <= start < end == start + 6000
