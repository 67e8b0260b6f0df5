"""Every command of docs/sharing.md is run by the test that is named here."""

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
from pipeline.storage.sweep import Sweep
from tests.support.clone import CHECKOUT
from tests.unit.training.command import Place

PAGE = (CHECKOUT / "docs" / "sharing.md").read_text("utf-8")

PUBLISH, REMOTE = "tests/commands/test_publish.py", "tests/system/test_dvc_remote.py"
FOLDER = "tests/system/test_sharing.py::test_a_folder_of_results_is_read_elsewhere"
TESTS = {
    "tar czf sweep.tar.gz -C results sweep": FOLDER,
    "mkdir -p results/theirs": FOLDER,
    "tar xzf sweep.tar.gz -C results/theirs --strip-components=1": FOLDER,
    "python -m pipeline.compare results/theirs": FOLDER,
    "python -m pipeline.publish from=results/theirs": FOLDER,
    "python scripts/tracking_server.py start ~/mlflow": f"{PUBLISH}::test_the_server_says_where_it_is",
    "python scripts/tracking_server.py status ~/mlflow": f"{PUBLISH}::test_the_server_says_where_it_is",
    "python scripts/tracking_server.py stop ~/mlflow": f"{PUBLISH}::server",
    "python -m pipeline.publish to=http://127.0.0.1:5000": f"{PUBLISH}::test_it_is_what_sqlite_has",
    "python -m pipeline.publish": f"{PUBLISH}::test_without_an_address_it_is_the_one_in_conf",
    "dvc remote add --default storage /mnt/shared/overfitting-gap": f"{REMOTE}::test_a_folder_passes_it_on",
    "dvc push": f"{REMOTE}::test_a_folder_passes_it_on",
    "dvc pull": f"{REMOTE}::test_a_folder_passes_it_on",
    "dvc repro": f"{REMOTE}::test_a_folder_passes_it_on",
    "dvc remote add --default storage s3://group/overfitting-gap": f"{REMOTE}::test_an_s3_passes_it_on",
    "dvc remote modify storage endpointurl http://127.0.0.1:9000": f"{REMOTE}::test_an_s3_passes_it_on",
    "dvc remote modify --local storage access_key_id NAME": f"{REMOTE}::test_keys_stay_out_of_git",
}


def test_each_command_has_its_test() -> None:
    blocks = re.findall(r"(?ms)^```bash\n(.*?)^```", PAGE)
    assert [line for block in blocks for line in block.splitlines()] == [*TESTS]


@pytest.mark.parametrize("command", TESTS)
def test_the_test_that_is_named_is_there(command: str) -> None:
    path, _, name = TESTS[command].partition("::")
    assert f"def {name}(" in (CHECKOUT / path).read_text("utf-8")


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
    pack, make, unpack, compared, published = [shlex.split(command) for command in TESTS][:5]
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
        [*record.keys, "sweep.json"]
    )
    # Nothing else is needed to train one of them again.
    assert reproduce.main([str(other / "results" / "theirs" / record.keys[0]), "tracking=none"]) == 0
