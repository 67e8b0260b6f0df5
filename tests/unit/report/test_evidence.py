"""The input of a report: which runs are the book's, which run is the winner, and which are lost or repeated."""

import dataclasses
from pathlib import Path

import pytest

from pipeline.report.evidence import Evidence, is_book
from pipeline.report.prose import opening
from pipeline.report.prose.limits import notes
from pipeline.storage.sources import Source
from pipeline.storage.sweeps import Lost
from pipeline.training.result import DIVERGED
from tests.support import factory


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        ("dataset", {"train_size": 10_000}),
        ("model", {"batch_normalization": True}),
        ("dataset", {"standardize": True}),
        ("training", {"patience": 2}),
        ("training", {"schedule": "cosine"}),
        ("training", {"schedule": "my_schedules.triangle"}),
        ("training", {"decay": 0.5, "decay_epochs": 1}),
        ("optimizer", {"keras_class": "my_optimizers.RMSprop"}),
        *(
            ("optimizer", {"hyperparameters": (("learning_rate", 0.001), other)})
            for other in (("momentum", 0.9), ("centered", True), ("epsilon", 0.01))
        ),
    ],
    ids=str,
)
def test_what_the_book_does_not_have_is_another_network(section, changes):
    book = factory.job()
    other = dataclasses.replace(book, **{section: dataclasses.replace(getattr(book, section), **changes)})
    assert not is_book(other)


def test_what_is_measured_and_what_has_no_effect_is_the_book_s_network_too():
    book = factory.job()
    same = dataclasses.replace(book.training, schedule="constant", evaluate_every=5, metrics=("macro_f1",))
    own = dataclasses.replace(book.optimizer, keras_class="RMSprop")
    assert is_book(dataclasses.replace(book, training=same, optimizer=own))


def test_the_book_s_runs_are_the_latest_of_each_seed(of_runs):
    early, late = factory.book_runs(3), factory.book_runs(3)
    for run in late:
        run.job = dataclasses.replace(run.job, training=dataclasses.replace(run.job.training, evaluate_every=5))
        run.started = "2027"
        factory.made_otherwise(run)
    assert set(of_runs([*late, *early]).book["key"]) == {run.key for run in late}


def test_a_repeated_run_s_curve_is_the_latest_of_its_experiment():
    old, new = (factory.finished(factory.job("adam", 16, validation=9)) for _ in range(2))
    factory.made_otherwise(new, numerics={"device": "gpu"})
    new.history["val/loss"], new.started = [1.0, 0.9, 0.8, 0.7, 0.6], "2027"
    parts = {"before": [old], "both": [new, old]}
    found = Evidence([Source(name, (Path(name),), (), runs) for name, runs in parts.items()])
    both = found.held_out_loss[found.held_out_loss["experiment"].eq("both")]
    assert both["loss_mean"].tolist() == new.history["val/loss"]
    assert set(found.gap_by_training_loss["n"]) == {1}


def test_without_a_named_winner_the_best_on_validation(of_runs):
    runs = [factory.finished(factory.job("adam", seed=seed, validation=9), test=0.9 + seed / 100) for seed in range(3)]
    assert of_runs(runs).winner is runs[2]


def test_lost_runs_with_and_without_a_record(of_runs):
    diverged = factory.lost(factory.job(seed=1), DIVERGED, "nan")
    unknown = Lost("adam-w9-d1-s0", "failed", "killed", "train it")
    found = of_runs([factory.finished(factory.job()), diverged], lost=[unknown]).lost
    assert [(run.name, run.status) for run in found] == [
        ("rmsprop-w512-d1-s1", "diverged"),
        ("adam-w9-d1-s0", "failed"),
    ]


def test_a_run_that_two_folders_lost_counts_once():
    lost = factory.lost(factory.job(seed=1), DIVERGED, "nan")
    runs = {"first": [factory.finished(factory.job()), lost], "second": [factory.finished(factory.job()), lost]}
    found = Evidence([Source(name, (Path(name),), (), own) for name, own in runs.items()])
    assert found.counts == {"finished": 1, "failed": 0, "diverged": 1}
    assert opening.closing(found, Path("page")).startswith("1 finished run, 1 lost: ")


def test_interrupted_runs_are_counted_too(of_runs):
    found = of_runs([], lost=[Lost(f"adam-w9-d1-s{seed}", "interrupted", "stopped", "") for seed in range(2)])
    assert opening.lead(found).startswith(
        "**None of 2 runs finished** (2 interrupted), so there is nothing to compare."
    )


def test_links_lead_to_the_run_in_mlflow(evidence):
    run = evidence.runs[evidence.runs["experiment"].eq("book")].iloc[0]
    assert evidence.link("book", run["key"]) == f"http://127.0.0.1:5000/#/experiments/7/runs/{0:032x}"
    assert evidence.link("book", "unpublished") is None


def test_repeated_seeds_are_noted(of_runs):
    again = factory.finished(factory.job())
    again.key = "0" * 64
    assert "1 run repeats the configuration and seed" in notes(of_runs([*factory.book_runs(1), again]))[0]
