"""The files beside the page: their exact columns, and a row for each run or configuration."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.report import tables, terminal
from pipeline.report.evidence import Evidence
from pipeline.storage.sources import Source
from pipeline.storage.sweeps import Lost
from pipeline.training.result import RunResult
from tests.support import factory

RUNS = (
    "key name dataset experiment optimizer width depth hidden seed epochs status train_accuracy train_loss val_accuracy "
    "val_loss test_accuracy test_loss gap_accuracy gap_loss best_val_accuracy best_epoch seconds mlflow_run_id reason "
    "book_gap_accuracy book_gap_loss excess_loss lowest_epoch calibration_error split_offset"
)
SUMMARISED = (
    "test_accuracy test_loss gap_accuracy gap_loss best_val_accuracy val_accuracy val_loss train_accuracy train_loss "
    "excess_loss lowest_epoch calibration_error split_offset book_gap_accuracy book_gap_loss seconds"
)


def test_runs_has_a_row_for_each_run(report):
    frame = report.table("runs.csv")
    assert list(frame.columns) == RUNS.split()
    assert frame["status"].value_counts().to_dict() == {"finished": 73, "failed": 1, "diverged": 1}


def test_runs_without_a_record_have_a_row_too(of_runs):
    unknown = Lost("adam-w9-d1-s0", "failed", "killed", "")
    frame = tables.runs(of_runs(factory.book_runs(1), lost=[unknown]))
    assert frame[["name", "status", "reason"]].iloc[1].to_list() == ["adam-w9-d1-s0", "failed", "killed"]


def test_comparison_has_a_row_for_each_configuration(report):
    frame = report.table("comparison.csv")
    described = "dataset experiment name optimizer width depth hidden dataset.validation_size optimizer.learning_rate n failed diverged"
    statistics = [f"{metric}_{part}" for metric in SUMMARISED.split() for part in ("mean", "sd", "low", "high")]
    assert list(frame.columns) == [*described.split(), *statistics, "place", "place_to"]
    assert len(frame) == 25


def test_metrics_are_plain_numbers(report):
    metrics = report.metrics
    assert metrics["book"]["test_accuracy"]["mean"] == pytest.approx(0.9791)
    assert metrics["book"]["test_accuracy"]["sd"] == pytest.approx(0.0018)
    assert metrics["book"]["gap_accuracy"]["mean"] == pytest.approx(0.0118)
    assert metrics["runs"] == {"finished": 73, "failed": 1, "diverged": 1}
    assert set(metrics["optimizer"]) == set(factory.PROFILES)
    assert set(metrics["best"]) >= {"configuration", "seeds", "val_accuracy", "test_accuracy", "gap_accuracy"}


def test_leaderboard_shows_ties_as_ties(evidence):
    places = tables.texts(evidence)["place"]
    assert places[0].startswith("1–")
    assert sum(places.str.startswith("1–")) == int(evidence.main["place"].eq(1).sum())


def test_note_is_a_markdown_table(evidence):
    note = terminal.note(evidence)
    rows = [line for line in note.splitlines() if line.startswith("|")]
    assert len(rows) == 26
    assert len({row.count("|") for row in rows}) == 1
    assert "smoke test" in note


def ranked() -> list[RunResult]:
    """Return two seeds each of three optimizers, the first of which has the lowest and most scattered validation accuracy."""
    means = {"sgd": 0.85, "adam": 0.97, "nadam": 0.95}
    runs = [
        factory.finished(factory.job(name, 16, seed, 9), test=mean) for name, mean in means.items() for seed in (0, 1)
    ]
    for run in runs:
        scatter = 0.1 if run.job.optimizer.name == "sgd" else 0.001
        run.metrics["val/accuracy"] = means[run.job.optimizer.name] + scatter * (-1) ** run.job.seed
    return runs


def test_the_leaderboard_is_by_the_mean_though_places_overlap(of_runs):
    single = factory.finished(factory.job("rmsprop", 16, 0, 9), test=0.99)
    single.metrics["val/accuracy"] = 0.99
    board = tables.texts(of_runs([*ranked(), single]))
    assert board["configuration"].str.partition(",")[0].tolist() == ["rmsprop", "adam", "nadam", "sgd"]
    assert board["place"].iloc[0] == "–"


def test_no_configuration_is_the_best_by_a_metric_that_its_comparison_lacks():
    [one] = [run for run in ranked() if run.job.optimizer.name == "adam" and not run.job.seed]
    one.job = replace(one.job, training=replace(one.job.training, metrics=("macro_f1",)))
    one.metrics |= {"val/macro_f1": 0.9, "test/macro_f1": 0.9}
    sources = [Source(name, (Path(name),), (), runs) for name, runs in (("large", ranked()), ("small", [one]))]
    assert "best" not in tables.metrics(Evidence(sources, rank="macro_f1"))
    assert tables.metrics(Evidence(sources))["best"]["configuration"] == "adam-w16-d1"
