"""What contrasts.csv says of each contrast, beside its numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import pandas as pd
import pytest

from pipeline.report.prose.verdicts import with_sentences
from pipeline.statistics.analysis import analysis
from pipeline.statistics.declaration import OPTIMIZERS, Declaration, load
from pipeline.training.result import DIVERGED, RunResult
from tests.support import factory


@pytest.fixture
def declared() -> Declaration:
    return dataclasses.replace(load(), contrasts=(OPTIMIZERS,), bootstrap_repetitions=99)


def runs(optimizer: str, seeds: Iterable[int] = range(10)) -> list[RunResult]:
    return [factory.finished(factory.job(optimizer, 64, seed, validation=10)) for seed in seeds]


def rows(results: Sequence[RunResult], declared: Declaration) -> pd.DataFrame:
    return with_sentences(analysis(results, declared)).set_index("figure")


def test_a_contrast_of_which_all_runs_are_pairs_needs_no_note(declared: Declaration) -> None:
    assert (rows([*runs("sgd"), *runs("adam")], declared)["note"] == "").all()


def test_other_data(declared: Declaration) -> None:
    results = [*runs("sgd"), *runs("adam")]
    for result in results[:4]:
        result.identity = {**result.identity, "data": "other"}
    assert rows(results, declared).loc["test_accuracy", "note"] == "4 seeds left out: other data, code or device"


def test_lost_runs(declared: Declaration) -> None:
    lost, *others = runs("sgd")
    found = rows([*others, factory.lost(lost.job, DIVERGED, "nan"), *runs("adam")], declared)
    assert found.loc["test_accuracy", "note"] == "1 run of sgd, width 64 did not finish (1 diverged)"


def test_a_loss_that_is_not_in_nats(declared: Declaration) -> None:
    results = []
    for result in [*runs("sgd"), *runs("adam")]:
        training = dataclasses.replace(result.job.training, loss="mean_squared_error")
        results.append(dataclasses.replace(result, job=dataclasses.replace(result.job, training=training)))
    found = rows(results, declared)
    assert found.loc["gap_loss", "note"] == "the sizes declared in nats are not of this loss"
    assert "no minimum effect is declared for this loss" in found.loc["gap_loss", "sentence"]
    assert found.loc["gap_accuracy", "note"] == ""
    assert not found["sentence"].str.contains("nan").any()
