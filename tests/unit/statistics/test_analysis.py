"""Everything at once: what a sweep gives, and what is left where runs lack something."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from pipeline.report.prose.answers import answers
from pipeline.report.prose.limits import limits
from pipeline.report.prose.verdicts import with_sentences
from pipeline.statistics import declaration
from pipeline.statistics.analysis import BOOTSTRAP, analysis
from pipeline.statistics.declaration import OPTIMIZERS
from pipeline.training.result import DIVERGED
from tests.unit.report import factory


@pytest.fixture(scope="module")
def declared():
    """With fewer repetitions."""
    return dataclasses.replace(declaration.load(), bootstrap_repetitions=299)


def sweep(optimizers=("sgd", "adam"), widths=(64, 512), seeds=range(10), **job):
    job = {"validation": 10, **job}
    return [
        factory.finished(factory.job(optimizer, width, seed, **job))
        for optimizer in optimizers
        for width in widths
        for seed in seeds
    ]


@pytest.fixture(scope="module")
def labels():
    return factory.digits()["test_labels"]


@pytest.fixture(scope="module")
def whole(declared, labels):
    return analysis(sweep(), declared, labels)


def test_a_whole_sweep_has_no_limits(whole):
    assert limits(whole) == []


def test_its_tables(whole):
    assert len(whole.configurations) == 4
    assert len(whole.contrasts) == 3 * (2 + 2)
    assert [one.figure for one in whole.interactions] == ["test_accuracy", "gap_accuracy", "gap_loss"]
    assert not any(found.missing for found in whole.interactions)
    assert len(whole.gap_points) == 3 * 40
    assert len(whole.gap_points_by_configuration) == 3 * 4
    assert len(whole.onsets) == 40


def test_means_stand_beside_the_configurations(whole):
    row = whole.configurations.loc[whole.best]
    assert row["test_accuracy_low"] < row["test_accuracy_mean"] < row["test_accuracy_high"]
    assert row["best_val_accuracy_mean"] == row["validation"]


def test_every_contrast_has_a_verdict_in_words(whole):
    assert set(whole.contrasts["verdict"]) <= {"overfits more", "more accurate", "equivalent", "no difference shown"}
    sentences = with_sentences(whole)["sentence"]
    assert sentences.str.endswith(".").all()
    assert not sentences.str.contains("nan").any()


def test_the_best_is_the_one_of_highest_validation_accuracy(whole):
    assert whole.best == whole.configurations["validation"].idxmax()
    which, _ = answers(whole)
    assert which.startswith(f"{whole.configurations.loc[whole.best, 'label']} has the highest mean validation accuracy")


def test_the_bootstrap_is_of_the_best_and_of_the_others_at_its_width(whole, labels):
    assert whole.bootstrap["configuration"].iloc[0] == whole.best
    assert (whole.bootstrap["against"].iloc[1:] == whole.best).all()
    assert len(whole.bootstrap) == 2
    assert set(whole.bootstrap["images"]) == {len(labels)}
    assert (whole.bootstrap["seeds"] == 10).all()


def test_answers_are_whole_sentences(whole):
    for answer in answers(whole):
        assert answer.endswith(".")
        assert "nan" not in answer
        assert "  " not in answer


def test_the_same_runs_give_the_same_analysis(whole, declared, labels):
    again = analysis(sweep(), declared, labels)
    assert again.contrasts.equals(whole.contrasts)
    assert again.bootstrap.equals(whole.bootstrap)
    assert answers(again) == answers(whole)


# -- what runs lack


def said(results, declared, labels=None):
    found = analysis(results, declared, labels)
    numbers = [*answers(found), *limits(found), *with_sentences(found)["sentence"]]
    assert not [text for text in numbers if "nan" in text or "inf" in text.lower().replace("information", "")]
    return found


def test_no_runs(declared, labels):
    found = said([], declared, labels)
    assert limits(found) == ["No run finished (there are none): nothing can be compared."]
    assert answers(found)[0] == "No run finished, so no optimizer and no width can be named."
    assert found.best is None
    assert found.bootstrap.columns.tolist() == BOOTSTRAP


def test_all_diverged(declared, labels):
    found = said(
        [factory.lost(factory.job("adam", 64, seed, 10), DIVERGED, "nan") for seed in range(3)], declared, labels
    )
    assert limits(found) == ["No run finished (3 diverged): nothing can be compared."]
    assert found.configurations["diverged"].tolist() == [3]
    assert found.contrasts.empty


def test_one_run(declared, labels):
    found = said(sweep(("adam",), (64,), [0]), declared, labels)
    assert "(1 seed, so no interval). It is the only configuration, so nothing is chosen." in answers(found)[0]
    assert answers(found)[1].endswith("(1 seed); there is none to compare it with.")
    assert found.bootstrap["seeds"].tolist() == [1]


def test_the_books_network_has_no_validation(declared, labels):
    found = said(factory.book_runs(5), declared, labels)
    assert found.best is None
    assert "Nothing was held out for validation or to compare it with" in answers(found)[0]
    assert any("No validation split was held out" in limit for limit in limits(found))
    assert len(found.bootstrap) == 1


def test_a_sweep_without_validation_names_no_best(declared, labels):
    found = said(sweep(validation=0), declared, labels)
    assert answers(found)[0].startswith("No validation accuracy is known of the 4 configurations")
    assert not found.contrasts["contrast"].eq(OPTIMIZERS).any()
    assert (found.bootstrap["against"] == "").all()


def test_three_seeds_carry_no_claim(declared, labels):
    found = said(sweep(seeds=range(3)), declared, labels)
    assert set(found.contrasts["verdict"]) == {"no difference shown"}
    assert answers(found)[1].startswith("3 seeds in common carry no claim on which of two optimizers overfits more.")
    assert any("a smoke test and carry no claim" in limit for limit in limits(found))


def test_one_epoch(declared, labels):
    found = said(sweep(epochs=1), declared, labels)
    assert found.onsets["onset"].isna().all()
    assert any("With one epoch each" in limit for limit in limits(found))


def test_mixed_data_is_not_paired(declared, labels):
    results = sweep()
    for result in results:
        if result.job.optimizer.name == "adam":
            result.identity = {**result.identity, "data": "other"}
    found = said(results, declared, labels)
    assert any("come from different data" in limit for limit in limits(found))
    adam = found.contrasts[found.contrasts["a"].str.startswith("adam") != found.contrasts["b"].str.startswith("adam")]
    assert (adam["n"] == 0).all()
    assert any("Seeds do not pair the runs of" in limit for limit in limits(found))


def test_two_data_sets_are_compared_each_by_itself(declared, labels):
    found = said([*sweep(), *sweep(dataset="digits")], declared, labels)
    assert found.contrasts.groupby("dataset").size().tolist() == [12, 12]


def test_an_optimizer_that_always_diverges(declared, labels):
    lost = [
        factory.lost(factory.job("nadam", width, seed, 10), DIVERGED, "nan")
        for width in (64, 512)
        for seed in range(10)
    ]
    found = said([*sweep(), *lost], declared, labels)
    rows = found.contrasts[found.contrasts["a"].eq("nadam, width 64")]
    assert (rows["n"] == 0).all()
    assert (rows["verdict"] == "no difference shown").all()
    assert any(limit.startswith("20 diverged of 60 runs did not finish") for limit in limits(found))


def test_two_classes(declared, labels):
    """Predictions of two classes only: correctness is all that is looked at."""
    results = [dataclasses.replace(r, predictions=(r.predictions > 4).astype(np.uint8)) for r in sweep()]
    found = said(results, declared, (labels > 4).astype(np.uint8))
    assert found.bootstrap["estimate"].iloc[0] > 0.5


def test_without_labels_there_is_no_bootstrap(declared):
    found = said(sweep(), declared)
    assert found.bootstrap.empty
    assert any("labels of the test images are not at hand" in limit for limit in limits(found))


def test_predictions_of_other_images_are_not_used(declared):
    found = said(sweep(), declared, np.zeros(7, dtype=int))
    assert any("No run has predictions of these test images" in limit for limit in limits(found))


def test_runs_that_are_no_pairs_are_none_for_the_bootstrap_either(declared, labels):
    """All of one optimizer on other numerics: seeds and images in common are not enough."""
    results = sweep()
    for result in results:
        if result.job.optimizer.name == "sgd":
            result.identity = {**result.identity, "numerics": {"backend": "jax", "device": "cpu"}}
    found = analysis(results, declared, labels)
    at_width = found.contrasts[found.contrasts["contrast"].eq(OPTIMIZERS)]
    assert at_width["n"].eq(0).all()
    assert found.bootstrap["against"].eq("").all()


def test_a_run_that_was_trained_twice_counts_once(declared, labels):
    again = sweep(("adam",), (64,))
    for result in again:
        result.key = "f" + result.key[1:]
        result.started = "2027-01-01T00:00:00+00:00"
    found = said([*sweep(), *again], declared, labels)
    assert found.configurations["n"].tolist() == [10] * 4
    assert len(found.gap_points) == 3 * 40


def test_runs_without_curves(declared, labels):
    found = said([dataclasses.replace(result, history={}) for result in sweep()], declared, labels)
    assert (found.contrasts.loc[found.contrasts["figure"].ne("test_accuracy"), "matched_n"] == 0).all()
    assert not found.contrasts["verdict"].eq("overfits more").any()


# -- speed


def test_the_default_sweep_takes_under_five_seconds(labels):
    results = sweep(tuple(factory.PROFILES), factory.WIDTHS)
    start = time.process_time()
    analysis(results, declaration.load(), labels)
    assert time.process_time() - start < 5
