"""The stage as a user runs it: what it finds, prints, refuses, publishes, and leaves unchanged."""

import contextlib
import hashlib
import io
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml

from pipeline import compare
from pipeline.cli import console
from pipeline.cli.errors import UserError
from pipeline.report.evidence import Evidence
from pipeline.storage.sources import read_sources
from pipeline.tracking import Tracker
from pipeline.training.result import DIVERGED
from tests.support import factory


class Noting(Tracker):
    """A tracker that records what compare sends to it."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, Path]] = {}
        self.metrics: dict[str, dict[str, float]] = {}
        self.tags: dict[str, dict[str, str]] = {}

    def parent(self, experiment, sweep_id):
        return None

    def run(self, run_id):
        return SimpleNamespace(info=SimpleNamespace(run_id=run_id, experiment_id="7"))

    def add_files(self, run_id, files):
        self.files[run_id] = dict(files)

    def log_metrics(self, run_id, metrics):
        self.metrics[run_id] = dict(metrics)

    def set_tags(self, run_id, tags):
        self.tags[run_id] = dict(tags)


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(console, "PROJECT", tmp_path)
    return tmp_path


@pytest.fixture
def small(project) -> Path:
    return train_small(project)


def train_small(project: Path) -> Path:
    """Make `project` a checkout with one small trained sweep: two optimizers, two seeds."""
    jobs = [factory.job(name, 16, seed, validation=9, epochs=2) for name in ("adam", "sgd") for seed in range(2)]
    runs = [factory.finished(job) for job in jobs]
    factory.write_experiment(project / "results/sweep", runs, factory.with_network(runs[0]))
    factory.write_data(project / "data/processed")
    return project


def contents(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> tuple[Path, str, int]:
    """A checkout after the command ran without a folder argument, its output, and its exit status."""
    project, said = tmp_path_factory.mktemp("first"), io.StringIO()
    train_small(project)
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.setattr(console, "PROJECT", project)
        status = compare.main(["tracking=none"])
    return project, said.getvalue(), status


def test_without_words_it_finds_the_results(first):
    project, said, status = first
    assert status == 0
    assert "sweep on mnist" in said
    assert said.splitlines()[-1] == f"4 finished runs: the report is {project / 'reports/index.html'}"


def test_without_a_terminal_it_speaks_plainly(first):
    assert "\x1b" not in first[1]
    assert "a smoke test, no claim" in first[1]


def test_the_same_runs_give_the_same_bytes(first, small):
    compare.main(["results/sweep", "out=again", "tracking=none"])
    assert contents(small / "again") == contents(first[0] / "reports")


def test_nothing_trained_yet(project):
    with pytest.raises(UserError, match=r"runs: no such folder of runs; train first \(python -m pipeline\.train"):
        compare.main([])


def test_nothing_finished(project):
    (project / "runs").mkdir()
    with pytest.raises(UserError, match="no finished run to compare; train first"):
        compare.main([])


def test_all_diverged(project, capsys):
    """There is still a report, which says that there is no answer and why, and every output of the stage exists."""
    lost = [factory.lost(factory.job(seed=seed), DIVERGED, "the loss is not a number") for seed in range(2)]
    factory.write_experiment(project / "results/sweep", lost)
    assert compare.main(["tracking=none", "summary=summary"]) == 0
    said = capsys.readouterr().out
    assert "None of 2 runs finished (2 diverged), so there is nothing to compare." in said
    page = (project / "reports/index.html").read_text()
    assert "<strong>None of 2 runs finished</strong>" in page
    assert page.count("the loss is not a number") == 2
    assert "python -m pipeline.train seed=1" in page
    stage = yaml.safe_load((Path(compare.__file__).parent.parent / "dvc.yaml").read_text())["stages"]["compare"]
    outs = [next(iter(out)) if isinstance(out, dict) else out for out in stage["outs"]]
    assert [out for out in outs if not (project / out).exists()] == []


@pytest.mark.parametrize(
    ("word", "says"), [("trakcing=none", "did you mean 'tracking'"), ("tracking=sqllite", "'sqlite'")]
)
def test_misspelt_words(small, word, says):
    with pytest.raises(UserError, match=says):
        compare.main([word])
    assert not (small / "reports").exists()


def test_a_leak_is_said_aloud_and_without_the_images_there_is_a_report_all_the_same(project, capsys):
    run = factory.with_network(factory.finished(factory.job(), test=0.995, gap=0.0))
    factory.write_experiment(project / "results/sweep", [run], run)
    compare.main(["tracking=none"])
    said = capsys.readouterr()
    assert "Leak alarm: 1 run above 99.1" in said.out
    assert "the report has no test images" in said.err
    assert pd.read_csv(project / "reports/confusion.csv").empty


def test_other_images_than_the_winners_are_not_shown(small, capsys):
    runs = [factory.finished(factory.job())]
    factory.made_otherwise(runs[0], data="0" * 64)
    factory.write_experiment(small / "results/other", runs)
    compare.main(["results/other", "tracking=none"])
    assert "was not trained on the data in data/processed/mnist" in capsys.readouterr().err


def test_the_report_of_two_versions_is_on_the_parents_of_both(project, monkeypatch):
    tracker = Noting()
    monkeypatch.setattr(compare, "tracker_for", {"": tracker}.__getitem__)
    for parent, code in (("old", "6" * 64), ("new", "7" * 64)):
        runs = [factory.finished(factory.job("adam", 16, seed, validation=9, epochs=2)) for seed in range(2)]
        runs = [factory.made_otherwise(run, source=code) for run in runs]
        factory.write_experiment(project / "results" / parent, runs, parent=parent)
    compare.main(["results/old", "results/new"])
    for parent in ("old", "new"):
        assert "report/index.html" in tracker.files[parent]
        assert "code 66666666" in tracker.tags[parent]["mlflow.note.content"]


def test_trouble_with_the_tracker_costs_one_line(first, monkeypatch, capsys):
    def refuse(tracking):
        raise RuntimeError("database is locked\nreally")

    monkeypatch.setattr(compare, "tracker_for", refuse)
    evidence = Evidence(read_sources([first[0] / "results/sweep"]))
    compare.publish(evidence, {name: first[0] / "reports" / name for name in contents(first[0] / "reports")}, "sqlite")
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: the report is not in MLflow (RuntimeError: database is locked really)")
