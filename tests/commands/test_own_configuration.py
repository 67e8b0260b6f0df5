"""Configuration outside the project: a folder of the user's own, and files for this machine only."""

import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pipeline import clean, diff, lineage, promote, publish, published, reproduce, train, ui
from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.config import rules
from pipeline.config.commandline import check
from pipeline.config.compose import composed
from pipeline.storage.sources import named_folders
from pipeline.tracking import tracker_for
from pipeline.tracking.address import home
from tests.support.formula import Formula
from tests.unit.training.command import Place, command

FILES = {
    "optimizer/slow.yaml": "name: slow\nclass: SGD\nlearning_rate: 0.001\nmomentum: 0.5\n",
    "model/small.yaml": "defaults: [dense]\nwidth: 3\n",
    "dataset/few.yaml": "defaults: [digits]\ntrain_size: 100\n",
    "sweep/mine.yaml": """
# @package _global_
question: mine
hydra:
  sweeper:
    params:
      optimizer: slow,sgd
      model: small
      dataset: few
      optimizer.momentum: 0.5,0.9
""",
}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_text(text)
    return tmp_path / "own"


@pytest.mark.parametrize("how", ["--config-dir={}", "hydra.searchpath=[file://{}]"])
def test_optimizer_model_data_and_sweep_of_a_folder_of_ones_own(
    how: str, own: Path, tmp_path: Path, processed: Path
) -> None:
    words = [word for word in Place(tmp_path, processed).words if not word.startswith("dataset=")]
    assert "rmsprop, schedule_free_adamw, sgd, slow\n" in command(how.format(own), "--help").out
    said = command("-m", how.format(own), "sweep=mine", "training.batch_size=50", "plan=true", *words)
    assert (said.status, said.err) == (0, "")
    assert said.out.splitlines()[:5] == [
        "plan of 4 runs: 4 new; 4 to train",
        "  slow-w3-d1-momentum0.5  train seed 0",
        "  slow-w3-d1-momentum0.9  train seed 0",
        "  sgd-w3-d1-momentum0.5   train seed 0",
        "  sgd-w3-d1-momentum0.9   train seed 0",
    ]


@pytest.mark.parametrize("how", ["--config-dir={}", "hydra.searchpath=[file://{}]"])
def test_the_command_of_a_lost_run_finds_the_folder_of_ones_own(
    how: str, own: Path, tmp_path: Path, processed: Path, formula: Formula
) -> None:
    formula.fails = lambda job: True
    words = Place(tmp_path, processed).words
    again = (
        command(how.format(own), "optimizer=slow", *words)
        .err.strip()
        .partition("; again: python -m pipeline.train ")[2]
    )
    formula.fails = lambda job: False
    assert command(*shlex.split(again)).status == 0
    assert [job.optimizer.name for job in formula.trained] == ["slow", "slow"]


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `conf/` with a folder `local`."""
    shutil.copytree(rules.CONF, tmp_path / "conf")
    (tmp_path / "conf" / "local").mkdir(exist_ok=True)
    monkeypatch.setattr(rules, "CONF", tmp_path / "conf")
    return tmp_path / "conf"


def test_what_is_this_machine_s_own_applies_by_itself_and_the_command_line_wins(conf: Path) -> None:
    (conf / "local" / "default.yaml").write_text(
        "# @package _global_\ndefaults: [override /tracking: none]\npaths: {runs: /scratch/runs}\ndevice: {workers: 3}\n"
    )
    (conf / "local" / "laptop.yaml").write_text("# @package _global_\ndevice: {workers: 1}\n")
    by_itself, asked, laptop = composed([[], ["device.workers=2", "tracking=sqlite"], ["local=laptop"]])
    assert (by_itself["paths"]["runs"], by_itself["tracking"]["kind"]) == ("/scratch/runs", "none")
    assert by_itself["device"]["workers"] == 3
    assert (asked["device"]["workers"], asked["tracking"]["kind"]) == (2, "sqlite")
    assert (laptop["device"]["workers"], laptop["paths"]["runs"]) == (1, "runs")


@pytest.fixture
def elsewhere(conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store of runs of a machine that has a server and a large disk of its own."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    server = "defaults: [override /tracking: server]\ntracking: {uri: http://127.0.0.1:1}\n"
    (conf / "local" / "default.yaml").write_text(f"# @package _global_\n{server}paths: {{runs: {tmp_path}/scratch}}\n")
    return tmp_path / "scratch"


@pytest.mark.parametrize(
    ("main", "words"),
    [
        (diff.main, ["abcdef", "fedcba"]),
        (lineage.main, ["abcdef"]),
        (promote.main, ["rates"]),
        (publish.main, []),
        (reproduce.main, ["rates", "tracking=none"]),
    ],
)
def test_the_store_of_runs_of_this_machine_is_that_of_every_command(
    main: Callable[[Sequence[str]], int], words: list[str], elsewhere: Path
) -> None:
    with pytest.raises(UserError, match=str(elsewhere)):
        main(words)


def test_published_results_are_judged_by_the_runs_of_this_machine(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(published, "judge", lambda *words: asked.append(words[-1].root))
    monkeypatch.setattr(published, "show", lambda _: None)
    assert published.main(["minutes=0"]) == 0
    assert {*asked} == {elsewhere}


def test_what_is_cleaned_is_the_store_of_this_machine(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (elsewhere / ".checkpoints").mkdir(parents=True)
    (elsewhere / ".checkpoints" / f"{'c' * 64}.npz").touch()
    assert clean.main(["tracking=none"]) == 0
    assert "1 entry, 0 bytes" in capsys.readouterr().out


def test_a_comparison_without_results_is_of_the_store_of_this_machine(
    elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "PROJECT", tmp_path)
    assert named_folders([]) == [elsewhere]


def test_the_server_of_this_machine_is_that_of_every_command(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tracker_for("").address.uri == "http://127.0.0.1:1"
    assert tracker_for("sqlite").address.database == home() / "mlflow.db"
    assert ui.main([]) == 0
    assert "the runs are on the MLflow server at http://127.0.0.1:1" in capsys.readouterr().out


def test_the_keys_of_an_optimizer_are_those_of_the_default_that_conf_names(conf: Path) -> None:
    path = conf / "config.yaml"
    path.write_text(path.read_text().replace("optimizer: rmsprop", "optimizer: adam"))
    assert check(["optimizer.beta_1=0.8"], multirun=False) == []
    assert check(["optimizer.rho=0.8"], multirun=False) != []


@pytest.mark.fault("secrets")
@pytest.mark.parametrize("name", ["local/default", "tracking/server"])
def test_a_password_in_a_file_of_conf_is_refused(conf: Path, name: str) -> None:
    """Hydra saves the composed configuration with every run."""
    (conf / f"{name}.yaml").write_text("tracking: {uri: 'http://me:secret@host'}\n")
    with pytest.raises(UserError, match=rf"conf/{name}.yaml: holds a password.*MLFLOW_TRACKING_URI"):
        train.main([])
