"""A row per contrast and figure: what belongs together, and what is in each column."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from pipeline.statistics import contrasts, declaration, design, verdicts
from pipeline.statistics.declaration import OPTIMIZERS, WIDTHS
from pipeline.statistics.figures import FIGURES
from tests.support import factory


@pytest.fixture(scope="module")
def declared():
    """With fewer sign flips."""
    return dataclasses.replace(declaration.load(), permutations=99)


def runs(optimizer="adam", width=64, seeds=range(10), gap=None, test=None, **job):
    scatter = np.random.default_rng(len(optimizer) + width).normal(0, 0.0005, size=1000)
    job = {"validation": 10, **job}
    return [
        factory.finished(
            factory.job(optimizer, width, seed, **job),
            test=None if test is None else test + scatter[seed],
            gap=None if gap is None else gap + scatter[seed + 500],
        )
        for seed in seeds
    ]


def table(results, declared, histories=True):
    rows = design.runs_of(results)
    configurations = design.configurations(rows)
    curves = {result.key: result.history for result in results if result.finished} if histories else None
    return contrasts.contrasts(rows, configurations, design.design(configurations, declared), declared, curves)


def row(results, declared, figure="gap_accuracy", **options):
    found = table(results, declared, **options)
    return found[found["figure"].eq(figure)].iloc[0]


PAIR = [*runs("sgd"), *runs("adam")]


def test_a_row_per_contrast_and_figure(declared):
    found = table([*PAIR, *runs("adam", 512)], declared)
    assert len(found) == 2 * len(FIGURES)
    assert found["contrast"].tolist() == [OPTIMIZERS] * 3 + [WIDTHS] * 3
    assert found["figure"].tolist() == 2 * list(FIGURES)


def test_a_seed_is_a_block(declared):
    found = row(PAIR, declared)
    gaps = {(r.job.optimizer.name, r.job.seed): r.figures["overfitting_gap/accuracy"] for r in PAIR}
    differences = [gaps["sgd", seed] - gaps["adam", seed] for seed in range(10)]
    assert found["difference"] == pytest.approx(np.mean(differences))
    assert found["sd"] == pytest.approx(np.std(differences, ddof=1))
    assert (found["n"], found["only_a"], found["only_b"], found["unlike"]) == (10, 0, 0, 0)
    assert found["mean_a"] - found["mean_b"] == pytest.approx(found["difference"])


def test_only_seeds_that_both_have_are_used(declared):
    found = row([*runs("sgd", seeds=range(3, 12)), *runs("adam", seeds=range(8))], declared)
    assert (found["n"], found["only_a"], found["only_b"]) == (5, 4, 3)


def test_runs_of_different_data_are_no_pair(declared):
    results = [*runs("sgd"), *runs("adam")]
    for result in results[:4]:
        result.identity = {**result.identity, "data": "other"}
    found = row(results, declared)
    assert (found["n"], found["unlike"]) == (6, 4)


def test_disjoint_seeds_are_unpaired(declared):
    found = row([*runs("sgd"), *runs("adam", seeds=range(10, 20))], declared)
    assert (
        found[["difference", "low", "p_t", "holm", "detectable", "seeds_to_decide", "matched_difference"]].isna().all()
    )
    assert found["n"] == 0


# -- families


def test_holm_is_within_contrast_and_figure(declared):
    from statsmodels.stats.multitest import multipletests

    results = [*PAIR, *runs("rmsprop"), *runs("momentum")]
    found = table(results, declared)
    for _, family in found.groupby("figure"):
        assert (family["comparisons"] == 6).all()
        padded = [*family["p_t"], 1, 1, 1]
        assert family["holm_t"].tolist() == pytest.approx(multipletests(padded, method="holm")[1][:3])


def test_the_declared_test_is_the_one_that_counts(declared):
    flips = dataclasses.replace(declared, claim_test="sign flip")
    found, other = row(PAIR, declared), row(PAIR, flips)
    assert found["holm"] == found["holm_t"]
    assert other["holm"] == other["holm_sign_flip"]
    assert other["matched_p"] != found["matched_p"]


# -- sizes


def test_what_so_many_seeds_detect(declared):
    from pipeline.statistics import power

    found = row([*PAIR, *runs("rmsprop")], declared)
    for column, alpha in {"detectable": 0.05, "detectable_in_family": 0.05 / 3}.items():
        in_sds = (np.array(found[size] / found["sd"]) for size in (column, "minimum_effect"))
        assert power.claim_power(*in_sds, np.array(10), np.array(alpha)) == pytest.approx(0.8)
        assert found[column] > found["minimum_effect"]


def test_seeds_for_a_gap_are_enough_at_matched_training_loss_too(declared):
    """For the claim there, over the seeds that have such a place; equivalence is of the gap itself."""
    from pipeline.statistics import power

    # Seed 9 of one side has no curve, so nine seeds have such a place.
    pair = [*runs("nadam"), *runs("adam")]
    pair[9].history = {}
    found, alone = row(pair, declared), row(pair, declared, histories=False)
    assert found["matched_n"] == 9
    sizes = (np.array([found[size]]) for size in ("effect_to_find", "matched_sd", "minimum_effect"))
    [claim] = power.seeds_to_claim(*sizes, np.array([declared.alpha]), declared.power)
    there = math.ceil(max(claim, declared.seeds_to_explore) * found["n"] / found["matched_n"])
    assert found["seeds_to_decide"] == max(alone["seeds_to_decide"], there)


# -- matched training loss


def test_gaps_are_compared_at_matched_training_loss(declared):
    found = row([*runs("momentum", gap=0.009, test=0.96), *runs("adam", gap=0.004, test=0.961)], declared)
    assert found["matched_n"] > 0
    assert found["matched_training_loss"] > 0
    assert found["matched_low"] < found["matched_difference"] < found["matched_high"]


# -- pairs


# -- verdicts


def test_a_claim_from_runs(declared):
    """A larger gap of the same training loss, at equal test accuracy less a little."""
    results = []
    for optimizer, gap, test in (("adam", 0.020, 0.9600), ("sgd", 0.010, 0.9650)):
        for result in runs(optimizer, gap=gap, test=test):
            losses = [0.5, 0.3, 0.1 + 0.001 * (optimizer == "adam")]
            gaps = [0.001, gap / 2, result.figures["overfitting_gap/accuracy"]]
            history = {"train/loss": losses, "gap/accuracy": gaps, "gap/loss": [3 * value for value in gaps]}
            results.append(dataclasses.replace(result, history=history))
    found = verdicts.judged(table(results, declared), declared).set_index("figure")
    assert found["verdict"].to_dict() == {
        "test_accuracy": "more accurate",
        "gap_accuracy": "overfits more",
        "gap_loss": "overfits more",
    }
    assert (found["lacks"] == "").all()
