"""The table of contrasts, a row per contrast and figure: which runs are paired, and what each column holds."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from pipeline.statistics.analysis import analysis
from pipeline.statistics.declaration import OPTIMIZER, WIDTH
from pipeline.statistics.metrics import METRICS
from tests.support import factory


def runs(optimizer="adam", width=64, seeds=range(10), **job):
    return [factory.finished(factory.job(optimizer, width, seed, **{"validation": 10, **job})) for seed in seeds]


PAIR = [*runs("sgd"), *runs("rmsprop")]


def row(results, declared, metric="gap_accuracy"):
    found = analysis(results, declared).contrasts
    return found[found["figure"].eq(metric)].iloc[0]


def test_a_seed_is_a_block(quick):
    found = row(PAIR, quick)
    gaps = {(r.job.optimizer.name, r.job.seed): r.metrics["train/accuracy"] - r.metrics["val/accuracy"] for r in PAIR}
    differences = [gaps["sgd", seed] - gaps["rmsprop", seed] for seed in range(10)]
    assert found["difference"] == pytest.approx(np.mean(differences))
    assert found["sd"] == pytest.approx(np.std(differences, ddof=1))
    assert found["p_t"] == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    assert found[["n", "seeds", "only_a", "only_b", "unlike"]].tolist() == [10, 10, 0, 0, 0]
    assert found["mean_a"] - found["mean_b"] == pytest.approx(found["difference"])


def test_runs_of_different_data_are_no_pair(quick):
    results = [*runs("sgd"), *runs("rmsprop")]
    for result in results[:4]:
        result.identity = {**result.identity, "data": "other"}
    found = row(results, quick)
    assert (found["n"], found["unlike"]) == (6, 4)


def test_disjoint_seeds_are_unpaired(quick):
    found = row([*runs("sgd", seeds=range(10, 20)), *runs("rmsprop")], quick)
    assert found[["difference", "low", "p_t", "holm", "detectable", "more_seeds"]].isna().all()
    assert found["n"] == 0


@pytest.mark.parametrize(("count", "used"), [(9, 9), (17, 10), (31, 30)])
def test_claims_rest_on_the_first_ten_or_thirty_seeds(quick, count, used):
    pair = [*runs("sgd", seeds=range(count)), *runs("rmsprop", seeds=range(count))]
    found = row(pair, quick, "test_accuracy")
    own = {
        name: [r.metrics["test/accuracy"] for r in pair if r.job.optimizer.name == name][:used]
        for name in ("sgd", "rmsprop")
    }
    assert (found["n"], found["seeds"]) == (used, count)
    assert found["difference"] == pytest.approx(np.mean(own["sgd"]) - np.mean(own["rmsprop"]))
    assert found["standing"] == {9: "", 10: "explored", 30: "confirmed"}[used]
    assert (found["verdict"] == "smaller") == (used >= 10)


# --- gaps and curves


def with_curves(results, training, held_out):
    """Give all results these losses, with a little noise in the held-out loss of each seed."""
    for result in results:
        own = 1e-3 * np.random.default_rng(result.job.seed).normal(size=len(held_out))
        loss = (np.array(held_out) + own).tolist()
        accuracy = (0.99 - np.array(loss) / 10).tolist()
        train = {"train/loss": list(training), "train/accuracy": [1 - each / 10 for each in training]}
        result.history = {**train, "val/loss": loss, "val/accuracy": accuracy}
        result.epochs = list(range(1, len(training) + 1))
        result.metrics["train/loss"], result.metrics["val/loss"] = training[-1], loss[-1]
    return results


def test_held_out_loss_is_compared_where_the_training_loss_is_equal(quick):
    a = with_curves(runs("sgd"), [0.4, 0.1], [0.45, 0.20])
    b = with_curves(runs("rmsprop"), [0.4, 0.1, 0.01], [0.45, 0.15, 0.14])
    found = row([*a, *b], quick, "fit_loss")
    assert found["level"] == pytest.approx(0.1)
    assert found["difference"] == pytest.approx(0.05, abs=1e-9)
    assert row([*a, *b], quick, "test_accuracy")[["level"]].isna().all()


def test_excess_is_what_held_out_loss_has_risen_since_its_minimum(quick):
    a = with_curves(runs("sgd"), [0.4, 0.1, 0.05], [0.4, 0.2, 0.3])
    b = with_curves(runs("rmsprop"), [0.4, 0.1, 0.05], [0.4, 0.2, 0.1])
    found = row([*a, *b], quick, "excess_loss")
    assert (found["mean_a"], found["mean_b"]) == (pytest.approx(0.1, abs=1e-3), 0)
    assert found["verdict"] == "larger"


# --- families


def test_holm_is_within_contrast_and_figure(quick, monkeypatch):
    from statsmodels.stats.multitest import multipletests

    # multipletests collects garbage at each call: half a second in a process that has imported TensorFlow and MLflow.
    monkeypatch.setattr("gc.collect", lambda: 0)
    results = [*PAIR, *runs("adam"), *runs("momentum"), *runs("rmsprop", 512)]
    found = analysis(results, quick).contrasts
    for (contrast, _), family in found.groupby(["contrast", "figure"]):
        assert (family["comparisons"] == {OPTIMIZER: 3, WIDTH: 1}[contrast]).all()
        expected = multipletests(family["p_t"].fillna(1), method="holm")[1]
        assert family["holm"].fillna(1).tolist() == pytest.approx(list(expected))


# --- sizes


def test_a_loss_that_is_not_in_nats_has_no_margin_and_no_verdict(quick):
    training = dataclasses.replace(PAIR[0].job.training, loss="mean_squared_error")
    results = [dataclasses.replace(run, job=dataclasses.replace(run.job, training=training)) for run in PAIR]
    found = analysis(results, quick).contrasts.set_index("figure")
    assert found["margin"].notna().to_dict() == {name: name.endswith("accuracy") for name in METRICS}
    assert found.loc["gap_loss", "verdict"] == "no difference shown"


@pytest.mark.parametrize(
    ("losses", "without"),
    [
        (("mean_squared_error", "kl_divergence"), {"gap_loss", "fit_loss", "fit_accuracy", "excess_loss"}),
        (("categorical_crossentropy", "kl_divergence"), set()),
    ],
)
def test_losses_in_different_units_have_no_margin(quick, losses, without):
    results = []
    for name in losses:
        training = dataclasses.replace(PAIR[0].job.training, loss=name)
        jobs = [dataclasses.replace(run.job, training=training) for run in PAIR[:10]]
        results += map(factory.finished, jobs)
    found = analysis(results, quick).contrasts
    assert set(found.loc[found["margin"].isna(), "figure"]) == without


def test_more_seeds_are_those_to_the_next_look(quick):
    """The SD of the differences is such that 10 seeds are too few and 30 are enough."""
    pair = [*runs("sgd"), *runs("rmsprop")]
    for result in pair:
        own = 0.0005 + 0.0013 * (-1) ** result.job.seed
        result.metrics["test/accuracy"] = 0.97 + (own if result.job.optimizer.name == "sgd" else 0)
    found = row(pair, quick, "test_accuracy")
    assert found["verdict"] == "no difference shown"
    assert found["more_seeds"] == 20
