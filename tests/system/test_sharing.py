"""docs/sharing.md: a folder of results is all that another checkout needs. Its other commands: test_dvc_remote.py."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from pipeline import compare, publish, reproduce
from pipeline.cli import console
from pipeline.storage.locks import LOCK
from pipeline.storage.sweeps import Sweep
from tests.support.clone import CHECKOUT
from tests.unit.training.command import Place

PAGE = (CHECKOUT / "docs" / "sharing.md").read_text("utf-8")

COMMANDS = [line for block in re.findall(r"(?ms)^```bash\n(.*?)^```", PAGE) for line in block.splitlines()]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_folder_of_results_is_read_elsewhere(
    tmp_path: Path, processed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands of the page: packed in one checkout, compared, published and trained again in another."""
    place, other = Place(tmp_path / "here", processed), tmp_path / "elsewhere"
    (other / "data").mkdir(parents=True)
    (other / "data" / "processed").symlink_to(processed)
    assert place.train("-m", "optimizer=sgd,adam", "model.width=4", "seed=0,1", "training.epochs=1").status == 0
    shutil.copytree(place.root / "results", tmp_path / "results" / "sweep")
    pack, make, unpack, compared, published = [shlex.split(command) for command in COMMANDS[:5]]
    subprocess.run(pack, cwd=tmp_path, check=True)
    shutil.move(tmp_path / "sweep.tar.gz", other)
    for command in (make, unpack):
        subprocess.run(command, cwd=other, check=True)
    monkeypatch.setattr(console, "PROJECT", other)
    monkeypatch.setenv("DVC_ROOT", str(other))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other / 'mlflow.db'}")
    assert compare.main([*compared[3:], "tracking=none"]) == 0
    record = Sweep.read(tmp_path / "results" / "sweep")
    assert set(pd.read_csv(other / "reports" / "runs.csv")["key"]) == set(record.keys)
    assert publish.main(published[3:]) == 0
    assert "sent 4 runs" in capsys.readouterr().out
    assert publish.main(published[3:]) == 0
    assert "4 at " in capsys.readouterr().out
    assert sorted(path.name for path in (other / "results" / "theirs").iterdir()) == sorted(
        [LOCK, *record.keys, "sweep.json"]
    )
    # Nothing else is needed to train one of them again.
    assert reproduce.main([str(other / "results" / "theirs" / record.keys[0]), "tracking=none"]) == 0
