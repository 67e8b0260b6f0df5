"""Everything at once: what a sweep gives, and what is left where runs lack something."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline.report.prose.answers import answers
from pipeline.report.prose.limits import limits
from pipeline.report.prose.verdicts import with_sentences
from pipeline.statistics import declaration
from pipeline.statistics.analysis import BOOTSTRAP, analysis
from pipeline.statistics.declaration import OPTIMIZERS
from pipeline.training.result import DIVERGED
from tests.support import factory


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


def test_the_bootstrap_is_of_the_best_and_of_the_others_at_its_width(whole, labels):
    assert whole.bootstrap["configuration"].iloc[0] == whole.best
    assert (whole.bootstrap["against"].iloc[1:] == whole.best).all()
    assert len(whole.bootstrap) == 2
    assert set(whole.bootstrap["images"]) == {len(labels)}
    assert (whole.bootstrap["seeds"] == 10).all()


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


# -- speed
