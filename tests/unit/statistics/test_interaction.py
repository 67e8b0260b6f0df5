"""The interaction against statsmodels' AnovaRM, the t test that it is for two by two, and a textbook's formula."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pipeline.report.prose import inference
from pipeline.statistics import design
from pipeline.statistics.interaction import Interaction, interaction, of_scores
from tests.unit.statistics import simulated


def sweep(seeds=10, optimizers=simulated.OPTIMIZERS, widths=simulated.WIDTHS, random=0, effect=0.0):
    shape = (1, len(widths), len(optimizers), seeds)
    values = simulated.scatter(shape, np.random.default_rng(random))
    steps = np.outer(np.arange(len(widths)), np.arange(len(optimizers)))
    gap = 0.01 + 0.001 * (values + effect * steps[None, :, :, None])
    return design.completed(simulated.frame(values, values, gap, optimizers, widths))


def of(runs, declared, figure="gap_accuracy") -> Interaction:
    return interaction(runs, design.configurations(runs), figure, declared)


@pytest.mark.parametrize("seeds", [3, 6])
def test_f_and_p_are_those_of_anovarm(declared, seeds):
    from statsmodels.stats.anova import AnovaRM

    runs = sweep(seeds, effect=0.3)
    row = AnovaRM(runs.astype({"width": int}), "gap_accuracy", "seed", within=["optimizer", "width"]).fit()
    row = row.anova_table.loc["optimizer:width"]
    found = of(runs, declared)
    assert (found.f, found.df1, found.df2) == (pytest.approx(row["F Value"]), row["Num DF"], row["Den DF"])
    assert found.p == pytest.approx(row["Pr > F"])
    assert found.seeds == seeds


def test_two_by_two_is_a_paired_t_test_of_the_differences_difference(declared):
    runs = sweep(8, ("sgd", "adam"), (16, 64), effect=0.8)
    wide = runs.pivot(index="seed", columns=["optimizer", "width"], values="gap_accuracy")
    double = wide["adam", 64] - wide["adam", 16] - wide["sgd", 64] + wide["sgd", 16]
    tested = stats.ttest_1samp(double, 0)
    found = of(runs, declared)
    assert (found.f, found.p) == (pytest.approx(tested.statistic**2), pytest.approx(tested.pvalue))
    assert (found.epsilon, found.p_corrected) == (pytest.approx(1), pytest.approx(tested.pvalue))
    assert found.partial_eta_squared == pytest.approx(tested.statistic**2 / (tested.statistic**2 + 7))


def test_epsilon_by_the_textbooks_formula(declared):
    """Winer 1971, from the covariances of k levels; of two optimizers the interaction is one factor of differences."""
    runs = sweep(12, ("sgd", "adam"), (16, 64, 256, 512))
    wide = runs.pivot(index="seed", columns=["optimizer", "width"], values="gap_accuracy")
    s = np.cov((wide["adam"] - wide["sgd"]).to_numpy(), rowvar=False)
    k = len(s)
    top = k**2 * (np.diag(s).mean() - s.mean()) ** 2
    bottom = (k - 1) * (np.sum(s**2) - 2 * k * np.sum(s.mean(axis=1) ** 2) + k**2 * s.mean() ** 2)
    assert of(runs, declared).epsilon == pytest.approx(top / bottom)


def test_without_interaction_p_is_small_in_about_5_percent():
    """Of contrasts whose variances differ as 1 to 16, which uncorrected p would call an interaction twice as often."""
    random, spread = np.random.default_rng(0), np.linspace(1, 4, 6)
    found = [of_scores("gap_accuracy", spread * random.normal(size=(10, 6)), (3, 4), 0) for _ in range(400)]
    assert np.mean([one.p_corrected < 0.05 for one in found]) == pytest.approx(0.05, abs=0.025)
    assert np.mean([one.p < 0.05 for one in found]) > np.mean([one.p_corrected < 0.05 for one in found])


def test_an_interaction_is_found(declared):
    found = of(sweep(effect=1.0), declared)
    assert found.p_corrected < 0.001
    assert found.partial_eta_squared > 0.8
    assert "depends on the width: F(" in inference.interaction(found, declared)


# -- what cannot be computed


def reason(runs, declared) -> str:
    found = of(runs, declared)
    assert found.missing
    assert np.isnan([found.f, found.p, found.p_corrected, found.partial_eta_squared]).all()
    return inference.interaction(found, declared)


def test_a_missing_cell(declared):
    runs = sweep()
    some = runs[~(runs["optimizer"].eq("adam") & runs["width"].eq(64))]
    assert reason(some, declared).endswith(
        "cannot be computed: the design is incomplete: 1 pair of optimizer and width has no run."
    )


def test_no_scatter(declared):
    runs = sweep()
    runs["gap_accuracy"] = runs["width"].astype(float) * runs["optimizer"].str.len()
    assert "no scatter" in reason(runs, declared)


def test_seeds_that_lack_a_cell_are_left_out_and_counted(declared):
    runs = sweep(5)
    runs.loc[runs["seed"].eq(2) & runs["optimizer"].eq("adam"), "status"] = "diverged"
    found = of(runs, declared)
    assert (found.seeds, found.left_out) == (4, 1)
