"""What is read, what is chosen, what is set aside."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline.cli.errors import UserError
from pipeline.report.evidence import Evidence, is_book, read_sources
from pipeline.report.prose.limits import notes
from pipeline.storage.sweep import Lost
from pipeline.training.result import DIVERGED
from tests.unit.report import factory


def test_the_largest_comparison_comes_first(evidence):
    assert evidence.questions == [("mnist", "sweep"), ("mnist", "book")]


def test_the_best_has_the_highest_validation_accuracy(evidence):
    assert evidence.best["best_val_accuracy_mean"] == evidence.main["best_val_accuracy_mean"].max()


def test_ties_come_first_and_share_a_place(evidence):
    assert evidence.main["place"].dropna().is_monotonic_increasing
    assert evidence.ties > 1


def test_book_runs_are_known_by_what_they_are(evidence):
    assert len(evidence.book) == 3
    assert evidence.book_question == ("mnist", "book")


@pytest.mark.parametrize("other", [{"optimizer": "adam"}, {"width": 256}, {"validation": 10}, {"epochs": 6}])
def test_what_is_not_the_book(other):
    assert is_book(factory.job())
    assert not is_book(factory.job(**other))


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        ("dataset", {"train_size": 10_000}),
        ("model", {"batch_normalization": True}),
        ("model", {"input_dropout": 0.2}),
        ("model", {"max_norm": 3.0}),
        ("model", {"kernel_initializer": "he_normal"}),
        ("training", {"decay": 0.9, "decay_epochs": 1}),
        ("training", {"patience": 2}),
        ("optimizer", {"hyperparameters": (("learning_rate", 0.001), ("momentum", 0.9))}),
    ],
    ids=str,
)
def test_what_the_book_does_not_have_is_another_network(section, changes):
    book = factory.job()
    other = dataclasses.replace(book, **{section: dataclasses.replace(getattr(book, section), **changes)})
    assert not is_book(other)


def test_curves_on_fewer_samples_leave_it_the_book_s():
    book = factory.job()
    assert is_book(dataclasses.replace(book, training=dataclasses.replace(book.training, curve_samples=10_000)))


def test_only_the_winner_keeps_its_weights(evidence):
    kept = [result for result in evidence.results if result.weights is not None]
    assert kept == [evidence.winner]


def test_without_a_named_winner_the_best_on_validation(of_runs):
    runs = [factory.finished(factory.job("adam", seed=seed, validation=9), test=0.9 + seed / 100) for seed in range(3)]
    assert of_runs(runs).winner is runs[2]


def test_without_validation_the_network_that_kept_its_weights(of_runs):
    runs = factory.book_runs()
    factory.with_network(runs[1])
    assert of_runs(runs).winner is runs[1]


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


def test_compute_counts_each_run_once():
    runs = factory.book_runs()
    twice = Evidence([dataclasses.replace(source, results=runs) for source in sources("a", "b")])
    assert twice.seconds == pytest.approx(sum(run.figures["time/train_s"] for run in runs))
    assert twice.count("finished") == 3


def sources(*names):
    from pathlib import Path

    from pipeline.report.evidence import Source

    return [Source(name, Path(name), None, []) for name in names]


def test_runs_of_different_data_are_noted(of_runs):
    runs = factory.book_runs(2)
    runs[1].identity = {**runs[1].identity, "data": "other"}
    assert "different data" in notes(of_runs(runs))[0]


def test_repeated_seeds_are_noted(of_runs):
    again = factory.finished(factory.job())
    again.key = "0" * 64
    assert "1 run repeats a configuration and a seed" in notes(of_runs([*factory.book_runs(1), again]))[0]


def test_like_runs_need_no_note(evidence):
    assert notes(evidence) == []


def test_a_store_without_a_sweep_is_read_whole(tmp_path):
    from pipeline.storage.store import RunStore

    store = RunStore(tmp_path / "runs")
    for run in factory.book_runs():
        store.write(run)
    [source] = read_sources([tmp_path / "runs"])
    assert (source.name, len(source.results)) == ("runs", 3)


def test_a_run_that_its_sweep_names_and_is_gone(tmp_path):
    import shutil

    runs = factory.book_runs()
    folder = factory.write_experiment(tmp_path / "book", runs)
    shutil.rmtree(folder / runs[0].key)
    with pytest.raises(UserError, match=r"1 of the 3 runs in its sweep\.json are missing"):
        read_sources([folder])


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="no such folder of runs"):
        read_sources([tmp_path / "nowhere"])


def test_two_folders_of_one_name_stay_apart(tmp_path):
    runs = factory.book_runs(1)
    folders = [factory.write_experiment(tmp_path / place / "book", runs) for place in ("a", "b")]
    assert len({source.name for source in read_sources(folders)}) == 2


# --- runs from different machines


HERE = {"python": "3.11.7", "tensorflow": "2.21.0", "lock": "a" * 64, "numerics_class": "c" * 64}


def test_the_warning_is_among_the_notes(of_runs):
    runs = factory.book_runs(2)
    for run, numerics in zip(runs, "ab", strict=True):
        run.environment = HERE | {"numerics_class": numerics * 64}
    [note] = notes(of_runs(runs))
    assert "come from machines that compute differently" in note
