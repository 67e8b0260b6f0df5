"""How often "overfits more" is said, of trainings with a known truth, recorded as a training records them.

Training figures of a curve are on 10,000 samples, the same for every seed, but those of the last epoch, which are on all.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pipeline.statistics import contrasts, design, slopes, verdicts
from pipeline.statistics.declaration import Declaration
from pipeline.statistics.matched import at_matched_training_loss
from pipeline.statistics.verdicts import Kind
from pipeline.training.result import RunResult
from tests.support import factory

SEEDS, EPOCHS, IMAGES = 10, 5, 60_000
EASIER = {"loss": 0.006, "accuracy": 0.0015}
"""By how much the 10,000 samples are easier than all: on MNIST it was 0.002 to 0.009 nats and up to 0.3 points, by the epoch."""


def trained(optimizer: str, speed: float, extra: float, random: np.random.Generator) -> list[RunResult]:
    """Runs that come down the same curve of gap against training loss, but for `extra`, `speed` times as fast."""
    runs = []
    for seed in range(SEEDS):
        job = factory.job(optimizer, 64, seed, validation=10_000, epochs=EPOCHS)
        job = dataclasses.replace(job, training=dataclasses.replace(job.training, curve_samples=10_000))
        result = factory.finished(job, test=0.97, gap=0.01)
        loss = 0.3 * np.exp(-0.45 * speed * np.arange(1, EPOCHS + 1)) * np.exp(random.normal(0, 0.02))
        gap = 0.03 - 0.12 * loss + extra + random.normal(0, 0.0008, EPOCHS) + random.normal(0, 0.0006)
        part = np.arange(EPOCHS) < EPOCHS - 1
        curve = {
            "train/loss": loss - EASIER["loss"] * part,
            "gap/accuracy": gap + EASIER["accuracy"] * part,
            "gap/loss": 3 * gap + EASIER["loss"] * part,
        }
        history = {**result.history, **{name: values.tolist() for name, values in curve.items()}}
        last = {"overfitting_gap/accuracy": gap[-1], "overfitting_gap/loss": 3 * gap[-1]}
        runs.append(dataclasses.replace(result, history=history, figures={**result.figures, **last}))
    return runs


def claims(declared: Declaration, speed: float, extra: float, sweeps: int, seed: int) -> list[list[bool]]:
    """Of each sweep of two optimizers: whether either gap is claimed to be larger, and whether A's is larger at the end."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(sweeps):
        results = [*trained("adam", speed, extra, random), *trained("sgd", 1, 0, random)]
        histories = {one.key: slopes.alike(one, IMAGES) for one in results}
        runs = design.runs_of(results)
        table = design.configurations(runs)
        rows = contrasts.contrasts(runs, table, design.design(table, declared), declared, histories)
        rows = verdicts.judged(rows, declared)
        gaps = rows[rows["figure"].ne("test_accuracy")]
        assert gaps["matched_n"].eq(SEEDS).all()
        larger = (gaps["holm"] < declared.alpha).all()
        found.append([gaps["verdict"].eq(Kind.OVERFITS_MORE).any(), larger])
    return found


@pytest.fixture(scope="module")
def quick(declared: Declaration) -> Declaration:
    return dataclasses.replace(declared, permutations=99)


def test_of_one_and_the_same_it_is_said_in_under_5_percent(quick: Declaration) -> None:
    said, _ = np.mean(claims(quick, 1, 0, sweeps=30, seed=1), axis=0)
    assert said <= 0.05


def test_of_what_only_fitted_further_it_is_said_in_under_5_percent(quick: Declaration) -> None:
    """Though after equal epochs its gap is larger, beyond doubt."""
    said, larger = np.mean(claims(quick, 1.6, 0, sweeps=30, seed=2), axis=0)
    assert larger > 0.9
    assert said <= 0.05


def test_of_what_does_it_is_said(quick: Declaration) -> None:
    """By 0.3 points at any training loss, three times the minimum effect."""
    said, _ = np.mean(claims(quick, 1.6, 0.003, sweeps=20, seed=3), axis=0)
    assert said >= 0.8


def test_a_training_and_its_own_beginning_have_one_gap_at_the_same_loss() -> None:
    """What is stopped after two epochs ends with an epoch on all samples, where the longer one has one on a part of them."""
    [whole, *_] = trained("adam", 1, 0, np.random.default_rng(4))
    beginning = dataclasses.replace(whole, history={name: values[:2] for name, values in whole.history.items()})
    for name, easier in (
        ("train/loss", EASIER["loss"]),
        ("gap/accuracy", -EASIER["accuracy"]),
        ("gap/loss", -EASIER["loss"]),
    ):
        beginning.history[name][1] += easier
    as_recorded = at_matched_training_loss(whole.history, beginning.history)
    assert abs(as_recorded.a["gap_accuracy"] - as_recorded.b["gap_accuracy"]) > 0.0005
    compared = at_matched_training_loss(slopes.alike(whole, IMAGES), slopes.alike(beginning, IMAGES))
    assert compared.a == compared.b
