"""The search command on real digits: a killed search continues, trials are pruned, and MLflow shows the study."""

import csv
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from pipeline.cli.console import PROJECT
from pipeline.storage.store import RunStore

WORDS = ["dataset=digits", "device=cpu", "device.xla=false", "training.epochs=9", "optimizer=adam", "name=killed"]
WORDS += ["n_trials=10", "batch=2", "pruner=hyperband"]
WORDS += ["model.width=interval(8,32)", "optimizer.learning_rate=tag(log,interval(1e-5,1e-1))"]


@dataclass
class Searched:
    root: Path
    processed: Path
    before: list[str]
    """Lines that the command printed before it was killed."""
    said: str
    """Output of the command that continued the search."""


@pytest.fixture(scope="module")
def searched(processed: Path, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    root = tmp_path_factory.mktemp("search")
    places = [f"paths.data={processed}", f"paths.runs={root}/runs", f"out={root}"]
    command = [sys.executable, "-m", "pipeline.search", *WORDS, *places]
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlflow.db"}
    pipes: dict[str, Any] = {"cwd": PROJECT, "env": environment, "text": True}
    with subprocess.Popen(command, stdout=subprocess.PIPE, **pipes) as killed:
        assert killed.stdout
        before = []
        for line in killed.stdout:
            before.append(line)
            if line.startswith("[5/10]"):
                killed.send_signal(signal.SIGKILL)
                break
        killed.wait()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **pipes)
    assert done.returncode == 0, done.stdout
    return Searched(root, processed, before, done.stdout)


@pytest.mark.slow
def test_a_killed_search_goes_on_to_the_total(searched: Searched) -> None:
    storage = JournalStorage(JournalFileBackend(str(searched.root / "killed" / "study.journal")))
    study = optuna.load_study(study_name="killed", storage=storage)
    told = [trial for trial in study.trials if "status" in trial.user_attrs]
    assert len(told) == 10
    assert {trial.user_attrs["key"] for trial in told} == {run.key for run in RunStore(searched.root / "runs")}
    assert "10 trials: " in searched.said
    again = searched.said.count("\n[")
    assert again <= 6, "those of whole batches, and what was stored of the last one, are not trained again"


@pytest.mark.slow
def test_a_study_is_one_parent_run_with_its_trials_below(searched: Searched) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{searched.root}/mlflow.db")
    experiment = client.get_experiment_by_name("search")
    assert experiment
    runs = client.search_runs([experiment.experiment_id])
    [parent] = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run is not parent]
    assert (parent.info.run_name, parent.info.status, len(children)) == ("killed", "FINISHED", 10)
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    statuses = {run.data.tags["status"]: run.info.status for run in children}
    assert statuses == {"finished": "FINISHED", "pruned": "FINISHED"}  # a pruned run is not a failure
    assert (parent.data.tags["trials"], parent.data.tags["lost"]) == ("10", "none")
    assert "trial " in parent.data.tags["mlflow.note.content"]
    assert [file.path for file in client.list_artifacts(parent.info.run_id, "search")] == ["search/trials.csv"]


@pytest.mark.slow
def test_a_report_leaves_pruned_runs_out(searched: Searched, tmp_path: Path) -> None:
    words = [f"{searched.root}/runs", "tracking=none", f"data={searched.processed}", f"out={tmp_path}"]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.compare", *words], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with (tmp_path / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    finished = {run.key for run in RunStore(searched.root / "runs") if run.finished}
    assert {row["key"] for row in rows} == finished
