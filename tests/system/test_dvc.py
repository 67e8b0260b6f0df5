"""The whole pipeline once, through `dvc repro`, in a clone on the digits of scikit-learn; then what DVC does with it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

from tests.support import clone as clones
from tests.support.clone import Clone

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(480)]  # on a machine with much else to do

STAGES = ["fetch", "preprocess", "train", "sweep", "overfitting", "compare"]
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


def test_the_stages_run_in_order(clone: Clone) -> None:
    assert re.findall(r"Running stage '(\w+)'", clone.first) == STAGES


def test_a_normal_run_says_nothing_unasked(clone: Clone) -> None:
    assert [line for line in clone.first.splitlines() if NOISE.search(line)] == []


POSSIBLE = {"test_accuracy": (0, 1), "test_loss": (0, None), "gap_accuracy": (-1, 1), "gap_loss": (None, None)}
"""An interval ends where its figure does."""


@pytest.mark.parametrize("figure", POSSIBLE)
def test_mean_and_interval_are_those_of_the_runs(runs: pd.DataFrame, comparison: pd.DataFrame, figure: str) -> None:
    by_configuration = ["experiment", "optimizer", "width"]
    ours = runs.groupby(by_configuration)[figure].agg(["mean", "std"])
    theirs = comparison.set_index(by_configuration).loc[ours.index]
    half = stats.t.ppf(0.975, 1) * ours["std"] / np.sqrt(2)
    expected = {"mean": ours["mean"], "sd": ours["std"], "low": ours["mean"] - half, "high": ours["mean"] + half}
    expected |= {end: expected[end].clip(*POSSIBLE[figure]) for end in ("low", "high")}
    for part, values in expected.items():
        np.testing.assert_allclose(theirs[f"{figure}_{part}"], values, rtol=1e-6, atol=1e-9)


def test_metrics_sum_it_up(metrics: dict[str, Any], comparison: pd.DataFrame) -> None:
    assert metrics["runs"] == {"finished": 12, "failed": 0, "diverged": 0}
    assert set(metrics["optimizer"]) == {"sgd", "adam"}
    swept = comparison[comparison["experiment"].eq(SWEEP)].set_index("name")
    assert metrics["best"]["configuration"] == swept["val_accuracy_mean"].idxmax()
    assert metrics["book"]["test_accuracy"]["mean"] > 0.5


def test_what_git_holds_is_small(clone: Clone) -> None:
    """None of what is in DVC's cache, nor the store of MLflow."""
    assert clone.run("git show --name-only --format= HEAD").split() == ["dvc.lock"]
    assert clone.run("git status --porcelain") == ""


def test_a_second_time_there_is_nothing_to_do(clone: Clone) -> None:
    seconds, said = [], ""
    for _ in range(2):
        start = time.perf_counter()
        said = clone.run("dvc repro")
        seconds.append(time.perf_counter() - start)
    assert "Data and pipelines are up to date." in said
    assert min(seconds) < 4, "1.3 s on a calm machine, and nothing heavy is imported"


# --- what MLflow holds, read with its own client


class Store:
    def __init__(self, path: Path) -> None:
        from mlflow.tracking import MlflowClient

        self.uri = f"sqlite:///{path / 'mlflow.db'}"
        self.client = MlflowClient(self.uri, self.uri)
        experiments = self.client.search_experiments()
        self.names = {one.experiment_id: one.name for one in experiments}
        self.runs = self.client.search_runs(list(self.names), max_results=1000)

    def parents(self, experiment: str) -> list[Any]:
        return [run for run in self._of(experiment) if "mlflow.parentRunId" not in run.data.tags]

    def children(self, parent: Any) -> list[Any]:
        return [run for run in self.runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]

    def _of(self, experiment: str) -> list[Any]:
        return [run for run in self.runs if self.names[run.info.experiment_id] == experiment]


@pytest.fixture(scope="module")
def store(clone: Clone) -> Store:
    return Store(clone.path)


@pytest.mark.parametrize(("experiment", "size"), [(BOOK, 2), (SWEEP, 8)])
def test_a_sweep_is_a_parent_with_its_children(store: Store, runs: pd.DataFrame, experiment: str, size: int) -> None:
    [parent] = store.parents(experiment)
    children = store.children(parent)
    assert len(children) == size
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}
    ids = runs.loc[runs["experiment"].eq(experiment), "mlflow_run_id"]
    assert {run.info.run_id for run in children} == set(ids)


def test_a_run_in_mlflow_says_what_the_table_says(store: Store, runs: pd.DataFrame) -> None:
    by_id = {run.info.run_id: run for run in store.runs}
    for row in runs.itertuples():
        run = by_id[row.mlflow_run_id]
        assert (run.data.tags["run.key"], run.info.run_name) == (row.key, row.name)
        assert (run.data.params["optimizer.name"], run.data.params["model.width"]) == (row.optimizer, str(row.width))
        assert run.data.metrics["overfitting_gap/accuracy"] == pytest.approx(row.gap_accuracy)
        assert len(store.client.get_metric_history(row.mlflow_run_id, "train/loss")) == row.epochs


def test_the_parent_carries_the_report(store: Store, metrics: dict[str, Any]) -> None:
    [parent] = store.parents(SWEEP)
    files = {file.path for file in store.client.list_artifacts(parent.info.run_id, "report")}
    assert {"report/index.html", "report/comparison.csv", "report/figures"} <= files
    assert metrics["best"]["configuration"].startswith(parent.data.tags["winner"].partition("-")[0])
    assert "| place |" in parent.data.tags["mlflow.note.content"]


@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")
def test_the_winner_loads_and_predicts(
    store: Store, clone: Clone, runs: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, keras: object
) -> None:
    import mlflow

    [parent] = store.parents(SWEEP)
    run_id = parent.data.tags["winner.run_id"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    images = np.load(clone.path / "data/processed/digits/test_images.npy")
    probabilities = mlflow.pyfunc.load_model(f"runs:/{run_id}/model").predict(images)
    [key] = runs.loc[runs["mlflow_run_id"].eq(run_id), "key"]
    recorded = np.load(clone.path / "results/sweep" / key / "predictions.npy")
    assert (np.asarray(probabilities).argmax(axis=1) == recorded).mean() > 0.99


# --- what is out of date


@pytest.fixture
def restored(clone: Clone) -> Iterator[Clone]:
    """The clone, to edit and run things in."""
    yield clone
    clone.restore()


def out_of_date(clone: Clone) -> dict[str, Any]:
    return dict(json.loads(clone.run("dvc status --json")))


def test_an_edited_configuration_trains_again(clone: Clone) -> None:
    clone.write("conf/optimizer/adam.yaml", clone.read("conf/optimizer/adam.yaml") + "# edited\n")
    status = out_of_date(clone)
    clone.run("git checkout --quiet conf")
    changed = {"changed deps": {"conf": "modified"}}
    assert status == {"train": [changed], "sweep": [changed], "overfitting": [changed]}


@pytest.mark.slow
def test_an_edited_report_is_all_that_runs_again(restored: Clone) -> None:
    restored.write("pipeline/report/method.py", restored.read("pipeline/report/method.py") + "# edited\n")
    assert list(out_of_date(restored)) == ["compare"]
    said = restored.run("dvc repro")
    assert re.findall(r"Running stage '(\w+)'", said) == ["compare"]
    made = yaml.safe_load(restored.read("dvc.lock"))["stages"]["compare"]["outs"]
    before = yaml.safe_load(restored.run("git show HEAD:dvc.lock"))["stages"]["compare"]["outs"]
    assert made == before, "the same runs give the same bytes"


# --- what DVC shows


def test_dag_draws_all_stages(clone: Clone) -> None:
    drawn = clone.run("dvc dag")
    assert [stage for stage in STAGES if f" {stage} " not in drawn] == []
    assert re.search(r" fetch .* preprocess .* train .* sweep .* compare ", drawn, re.DOTALL)


def test_metrics_are_numbers(clone: Clone, metrics: dict[str, Any]) -> None:
    shown = json.loads(clone.run("dvc metrics show --json"))[""]["data"]
    assert shown["reports/metrics.json"]["data"] == metrics
    assert set(shown) == {"reports/metrics.json", "data/cards/digits.json"}


def plots(clone: Clone, command: str, folder: Path) -> dict[str, dict[str, Any]]:
    """What each plot of `command` is drawn from, by its name."""
    data = json.loads(clone.run(f"{command} --json -o '{folder}'"))["data"]
    return {name: drawn[0] for name, drawn in data.items() if drawn[0]["type"] == "vega"}


def test_plots_are_drawn_from_the_tables(clone: Clone, tmp_path: Path) -> None:
    drawn = plots(clone, "dvc plots show", tmp_path)
    rows = {name: len(plot["content"]["data"]["values"]) for name, plot in drawn.items()}
    tables = ("gap_by_training_loss", "curves", "gap_by_width", "gap_by_width", "confusion")
    assert list(rows.values()) == [len(pd.read_csv(clone.path / f"reports/{name}.csv")) for name in tables]
    assert rows["Overfitting gap by width"] == 6, "a row per configuration"
    for plot in drawn.values():
        fields = set(plot["content"]["data"]["values"][0])
        assert set(re.findall(r"datum\['(\w+)'\]", json.dumps(plot["content"]))) <= fields
        assert "<DVC_METRIC" not in json.dumps(plot["content"])


def test_plots_make_a_page_with_the_pictures(clone: Clone, tmp_path: Path) -> None:
    said = clone.run(f"dvc plots show -o '{tmp_path / 'drawn'}'")
    page = (tmp_path / "drawn/index.html").read_text("utf-8")
    assert "index.html" in said
    assert page.count("vegaEmbed(") == 5
    pictures = {path.name for path in (tmp_path / "drawn/static").iterdir()}
    assert {"workspace_data_samples_digits.png", "workspace_reports_figures_confusion.png"} <= pictures


# --- experiments


SETTINGS = "-S sweep.widths=8 -S \"sweep.optimizers='sgd,adam'\" -S sweep.epochs=1 -S sweep.seeds=1"
"""The list of optimizers is quoted twice: without, DVC makes one experiment for each."""


@pytest.fixture(scope="module")
def queued(clone: Clone) -> Iterator[str]:
    """What is said where an experiment that was queued runs, in a temporary workspace."""
    assert clone.run(f"dvc exp run --queue --name queued {SETTINGS}").count("Queued experiment") == 1
    clone.run("dvc queue start")
    last = time.monotonic() + 300
    while not re.search(
        "/(queued|failed)$", clone.run("git for-each-ref --format='%(refname)' refs/exps"), re.MULTILINE
    ):
        assert time.monotonic() < last, clone.run("dvc queue status")
        time.sleep(0.5)
    yield clone.run("dvc queue logs queued")
    clone.run("dvc queue stop --kill")


@pytest.mark.slow
def test_a_queued_experiment_finds_the_data(queued: str) -> None:
    assert re.findall(r"Running stage '(\w+)'", queued) == ["sweep", "compare"]
    assert "2 runs: 2 new" in queued
    closing = "6 finished runs: the report is in experiment queued; `dvc exp apply queued` brings it here"
    assert closing in queued.splitlines()


@pytest.mark.slow
def test_a_queued_experiment_leaves_the_workspace_alone(clone: Clone, queued: str) -> None:
    assert clone.run("git status --porcelain") == ""
    assert "Data and pipelines are up to date." in clone.run("dvc status")
    assert "queued" in clone.run("dvc exp list --name-only")


@pytest.mark.slow
def test_runs_of_a_queued_experiment_land_in_the_store_of_the_project(clone: Clone, queued: str) -> None:
    store = Store(clone.path)
    of_it = [run for run in store.runs if run.data.tags.get("env.dvc_experiment") == "queued"]
    trained = {run.info.run_name for run in of_it if "run.key" in run.data.tags}
    assert trained == {"sgd-w8-d1-s0", "adam-w8-d1-s0"}
    assert all((clone.path / "runs" / run.data.tags["run.key"]).is_dir() for run in of_it if "run.key" in run.data.tags)
    assert not list((clone.path / ".dvc").rglob("mlflow.db"))


@pytest.mark.slow
def test_metrics_of_an_experiment_are_compared(clone: Clone, queued: str) -> None:
    diff = json.loads(clone.run("dvc metrics diff HEAD queued --json"))["reports/metrics.json"]
    assert diff["runs.finished"] == {"old": 12, "new": 6, "diff": -6}
    assert all(isinstance(change["new"], int | float | str | None) for change in diff.values())
    assert max(map(len, clone.run("dvc metrics diff HEAD queued").splitlines())) < 200


@pytest.mark.slow
def test_an_experiment_in_the_workspace_is_not_made_twice(restored: Clone, queued: str) -> None:
    said = restored.run(f"dvc exp run -S train.seeds=2 {SETTINGS}")
    for stage in ("sweep", "compare"):
        assert f"Stage '{stage}' is cached - skipping run, checking out outputs" in said
    assert re.findall(r"Running stage '(\w+)'", said) == []
    assert yaml.safe_load(restored.read("params.yaml"))["sweep"]["widths"] == 8
    assert json.loads(restored.read("reports/metrics.json"))["runs"]["finished"] == 6
    assert len(pd.read_csv(restored.path / "reports/runs.csv")) == 6


@pytest.mark.slow
def test_an_experiment_is_shown_by_what_it_changed(clone: Clone, queued: str) -> None:
    """Without the option DVC shows a column for each number of the data card too."""
    header = clone.run("dvc exp show --only-changed --md").splitlines()[0]
    assert "sweep.epochs" in header
    assert "train.labels" not in header
