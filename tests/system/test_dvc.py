"""The whole pipeline, run once with `dvc repro` in a clone on scikit-learn's digits, and what uses its results."""

import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline import compare, publish, reproduce
from pipeline.cli import console
from pipeline.storage.sweeps import Sweep
from tests.support import clone as clones
from tests.support.clone import CHECKOUT, Clone
from tests.support.rows import Rows

pytestmark = pytest.mark.timeout(480)  # seconds, for a busy machine

STAGES = ["fetch", "preprocess", "train", "sweep", "overfitting", "compare"]
TABLES = ["confusion.csv", "curves.csv", "gap_by_training_loss.csv", "gap_by_width.csv"]
BOOK, SWEEP = "book", "optimizers by width"
NOISE = re.compile(r"warn|traceback|deprecat|onednn|absl|cuda|rebuild tensorflow|error", re.IGNORECASE)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return clones.after_repro(tmp_path_factory).copy(tmp_path_factory.mktemp("dvc") / "with a space")


@pytest.fixture(scope="module")
def runs(clone: Clone) -> pd.DataFrame:
    return pd.read_csv(clone.path / "reports/runs.csv")


@pytest.fixture(scope="module")
def comparison(clone: Clone) -> pd.DataFrame:
    return pd.read_csv(clone.path / "reports/comparison.csv")


@pytest.fixture(scope="module")
def metrics(clone: Clone) -> dict[str, Any]:
    return dict(json.loads(clone.read("reports/metrics.json")))


# --- dvc repro


def test_the_stages_run_in_order_and_say_nothing_unasked(clone: Clone) -> None:
    assert re.findall(r"Running stage '(\w+)'", clone.first) == STAGES
    assert [line for line in clone.first.splitlines() if NOISE.search(line)] == []


def test_metrics_sum_it_up(metrics: dict[str, Any], comparison: pd.DataFrame) -> None:
    assert metrics["runs"] == {"finished": 12, "failed": 0, "diverged": 0}
    assert set(metrics["optimizer"]) == {"sgd", "adam"}
    swept = comparison[comparison["experiment"].eq(SWEEP)].set_index("name")
    assert metrics["best"]["configuration"] == swept["val_accuracy_mean"].idxmax()
    assert metrics["book"]["test_accuracy"]["mean"] > 0.5


def test_what_git_holds_is_small(clone: Clone) -> None:
    """Git tracks neither what is in DVC's cache nor the MLflow store."""
    made = clone.run("git show --name-only --format= HEAD").split()
    assert made == ["dvc.lock", *(f"summary/{name}" for name in [*TABLES, "metrics.json"])]
    assert sum((clone.path / name).stat().st_size for name in made) < 500_000
    assert clone.run("git status --porcelain") == ""


def test_a_second_time_there_is_nothing_to_do(clone: Clone) -> None:
    """The settings of a machine put no stage out of date."""
    clone.write("conf/local/default.yaml", "# @package _global_\ndevice: {workers: 1}\n")
    said = clone.run("dvc repro")
    shutil.rmtree(clone.path / "conf" / "local")
    assert "Data and pipelines are up to date." in said


# --- the MLflow store, read with MLflow's client


@pytest.fixture(scope="module")
def store(clone: Clone) -> Rows:
    return Rows(clone.path)


@pytest.mark.parametrize(("experiment", "size"), [(BOOK, 2), (SWEEP, 8)])
def test_a_sweep_is_a_parent_with_its_children(store: Rows, runs: pd.DataFrame, experiment: str, size: int) -> None:
    parent = store.parent(experiment)
    children = [run for run in store.children if run.data.tags["mlflow.parentRunId"] == parent.info.run_id]
    assert len(children) == size
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}
    ids = runs.loc[runs["experiment"].eq(experiment), "mlflow_run_id"]
    assert {run.info.run_id for run in children} == set(ids)


def test_a_run_in_mlflow_says_what_the_table_says(store: Rows, runs: pd.DataFrame) -> None:
    by_id = {run.info.run_id: run for run in store.runs}
    for row in runs.itertuples():
        run = by_id[row.mlflow_run_id]
        assert (run.data.tags["run.key"], run.info.run_name) == (row.key, row.name)
        assert (run.data.params["optimizer.name"], run.data.params["model.width"]) == (row.optimizer, str(row.width))
        assert run.data.metrics["overfitting_gap/accuracy"] == pytest.approx(row.gap_accuracy)
        assert len(store.client.get_metric_history(row.mlflow_run_id, "train/loss")) == row.epochs


def test_the_parent_carries_the_report(store: Rows, metrics: dict[str, Any]) -> None:
    parent = store.parent(SWEEP)
    files = {file.path for file in store.client.list_artifacts(parent.info.run_id, "report")}
    assert {"report/index.html", "report/comparison.csv", "report/figures"} <= files
    assert metrics["best"]["configuration"].startswith(parent.data.tags["winner"].partition("-")[0])
    assert parent.data.metrics["comparison/runs/finished"] == metrics["runs"]["finished"]
    note = parent.data.tags["mlflow.note.content"]
    assert "| place | configuration |" in note
    experiment, run = parent.info.experiment_id, parent.info.run_id
    assert f"(#/experiments/{experiment}/runs/{run}/artifacts/report/index.html)" in note


@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")
def test_the_winner_is_loaded_as_the_readme_says_and_predicts(
    store: Rows, clone: Clone, runs: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, keras: object
) -> None:
    [code] = re.findall(r"(?ms)^```python\n(.*?)^```", (CHECKOUT / "README.md").read_text("utf-8"))
    parent = store.parent(SWEEP)
    run_id = parent.data.tags["winner.run_id"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    scope: dict[str, Any] = {}
    exec(code.replace("<run id>", run_id), scope)
    images = np.load(clone.path / "data/processed/digits/test_images.npy")
    probabilities = scope["model"].predict(images)
    [key] = runs.loc[runs["mlflow_run_id"].eq(run_id), "key"]
    recorded = np.load(clone.path / "results/sweep" / key / "predictions.npy")
    assert (np.asarray(probabilities).argmax(axis=1) == recorded).mean() > 0.99


# --- which stages an edit makes out of date


@pytest.mark.parametrize(
    ("edited", "stages"),
    [("conf/optimizer/adam.yaml", ["train", "sweep", "overfitting"]), ("pipeline/report/prose/method.py", ["compare"])],
)
def test_what_reads_an_edited_file_runs_again(clone: Clone, edited: str, stages: list[str]) -> None:
    clone.write(edited, clone.read(edited) + "# edited\n")
    status = json.loads(clone.run("dvc status --json"))
    clone.run(f"git checkout --quiet {edited}")
    assert list(status) == stages


# --- what DVC shows


@pytest.fixture
def visitor(clone: Clone, tmp_path: Path) -> Clone:
    """A git clone, as a visitor gets it: only committed files."""
    clone.run(f"git clone --quiet . '{tmp_path / 'visitor'}'")
    return clone.at(tmp_path / "visitor")


def test_a_visitor_sees_the_headline_then_the_params(visitor: Clone, metrics: dict[str, Any]) -> None:
    columns = visitor.run("dvc exp show --csv --drop '.*/|conf|hydra|rev|typ|parent'").splitlines()[0].split(",")
    assert columns[:4] == ["Experiment", "Created", "best.test_accuracy", "best.gap_accuracy"]
    assert len(columns) < 15
    shown = json.loads(visitor.run("dvc metrics show --json"))[""]["data"]
    assert set(shown) == {"summary/metrics.json"}
    assert shown["summary/metrics.json"]["data"]["best"]["gap_accuracy"] == metrics["best"]["gap_accuracy"]
    assert shown["summary/metrics.json"]["data"]["book"]["test_accuracy"] == metrics["book"]["test_accuracy"]["mean"]


def test_a_visitor_sees_plots_drawn_from_the_tables(clone: Clone, visitor: Clone, tmp_path: Path) -> None:
    data = json.loads(visitor.run(f"dvc plots show --json -o '{tmp_path}'"))["data"]
    drawn = [shown[0]["content"] for shown in data.values()]
    names = ("gap_by_training_loss", "curves", "gap_by_width", "gap_by_width", "confusion")
    rows = [len(plot["data"]["values"]) for plot in drawn]
    assert rows == [len(pd.read_csv(clone.path / "reports" / f"{name}.csv")) for name in names]
    for plot in drawn:
        assert set(re.findall(r"datum\['(\w+)'\]", json.dumps(plot))) <= set(plot["data"]["values"][0])
        assert "<DVC_METRIC" not in json.dumps(plot)


# --- experiments


SETTINGS = "-S model.width=8 -S 'optimizer=[sgd,adam]' -S model.depth=2 -S training.epochs=1 -S seeds=1"
SETTINGS += " -S train.seeds=1 -S 'overfitting.train_sizes=[200]'"


@pytest.mark.slow
def test_a_queued_experiment_finds_the_data_and_leaves_the_workspace_alone(clone: Clone) -> None:
    """It runs in a temporary workspace, but its runs are written to the project's stores."""
    assert clone.run(f"dvc exp run --queue --name queued {SETTINGS}").count("Queued experiment") == 1
    clone.run("dvc queue start")
    while not re.search(
        "/(queued|failed)$", clone.run("git for-each-ref --format='%(refname)' refs/exps"), re.MULTILINE
    ):
        time.sleep(0.5)
    said = clone.run("dvc queue logs queued")
    clone.run("dvc queue stop --kill")
    assert re.findall(r"Running stage '(\w+)'", said) == STAGES[2:]
    assert "2 runs: 2 new" in said
    closing = "4 finished runs: the report is in experiment queued; `dvc exp apply queued` brings it here"
    assert closing in said.splitlines()
    assert clone.run("git status --porcelain") == ""
    assert "Data and pipelines are up to date." in clone.run("dvc status")
    of_it = [run for run in Rows(clone.path).runs if run.data.tags.get("env.dvc_experiment") == "queued"]
    trained = {run.info.run_name: run.data.tags["run.key"] for run in of_it if "run.key" in run.data.tags}
    assert {"sgd-w8-d2-s0", "adam-w8-d2-s0"} < set(trained)
    assert all((clone.path / "runs" / key).is_dir() for key in trained.values())
    assert not list((clone.path / ".dvc").rglob("mlflow.db"))


# --- docs/sharing.md


@pytest.mark.slow
def test_a_dvc_remote_passes_everything_on(clone: Clone, tmp_path: Path) -> None:
    """After `dvc pull`, a second clone has all results and `dvc repro` trains nothing. The remote is a folder."""
    first = clone.copy(tmp_path / "first", "mlflow.db*", "mlartifacts", "runs")
    first.run(f"dvc remote add --default storage '{tmp_path}/shared drive/overfitting-gap'")
    assert "pushed" in first.run("dvc push")
    first.commit("Where results are kept")
    second = first.at(tmp_path / "second")
    first.run(f"git clone --quiet '{first.path}' '{second.path}'")
    assert not (second.path / "results").exists()
    assert "fetched" in second.run("dvc pull")
    assert "Data and pipelines are up to date." in (again := second.run("dvc repro"))
    assert "Running stage" not in again
    assert not (second.path / "runs").exists(), "nothing was trained"
    for name in ("reports/index.html", "results/sweep/sweep.json"):
        assert second.read(name) == first.read(name)
    assert second.run("git status --porcelain") == ""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_folder_of_results_is_read_elsewhere(
    clone: Clone, keras: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page's commands: pack results in one checkout; compare, publish and reproduce them in another."""
    page = (CHECKOUT / "docs" / "sharing.md").read_text("utf-8")
    lines = [line for block in re.findall(r"(?ms)^```bash\n(.*?)^```", page) for line in block.splitlines()]
    pack, make, unpack, compared, published = lines[:5]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "processed").symlink_to(clone.path / "data" / "processed")
    clone.run(pack)
    shutil.move(clone.path / "sweep.tar.gz", tmp_path)
    clone.at(tmp_path).run(f"{make} && {unpack}")
    monkeypatch.setattr(console, "PROJECT", tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert compare.main([*compared.split()[3:], "tracking=none"]) == 0
    record = Sweep.read(clone.path / "results" / "sweep")
    assert set(pd.read_csv(tmp_path / "reports" / "runs.csv")["key"]) == set(record.keys)
    assert publish.main(published.split()[3:]) == 0
    assert "sent 8 runs" in capsys.readouterr().out
    # Training one of its runs again needs nothing else.
    assert reproduce.main([str(tmp_path / "results" / "theirs" / record.keys[0]), "tracking=none"]) == 0
