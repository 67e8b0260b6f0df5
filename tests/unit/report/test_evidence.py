"""The input of a report: which runs are the book's, which run is the winner, and which are lost or repeated."""

import dataclasses

import pytest

from pipeline.report.evidence import is_book
from pipeline.report.prose.limits import notes
from pipeline.storage.sweeps import Lost
from pipeline.training.result import DIVERGED
from tests.support import factory


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        ("dataset", {"train_size": 10_000}),
        ("model", {"batch_normalization": True}),
        ("training", {"patience": 2}),
        ("optimizer", {"hyperparameters": (("learning_rate", 0.001), ("momentum", 0.9))}),
    ],
    ids=str,
)
def test_what_the_book_does_not_have_is_another_network(section, changes):
    book = factory.job()
    other = dataclasses.replace(book, **{section: dataclasses.replace(getattr(book, section), **changes)})
    assert not is_book(other)


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


def test_links_lead_to_the_run_in_mlflow(evidence):
    run = evidence.runs[evidence.runs["experiment"].eq("book")].iloc[0]
    assert evidence.link("book", run["key"]) == f"http://127.0.0.1:5000/#/experiments/7/runs/{0:032x}"
    assert evidence.link("book", "unpublished") is None


def test_repeated_seeds_are_noted(of_runs):
    again = factory.finished(factory.job())
    again.key = "0" * 64
    assert "1 run repeats the configuration and seed" in notes(of_runs([*factory.book_runs(1), again]))[0]
