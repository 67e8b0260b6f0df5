"""The answers in words: each question gets a direction of its own, and too few seeds get none."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.report import statistics_tables
from pipeline.report.prose import answers
from pipeline.report.prose.verdicts import sentence, with_sentences
from pipeline.statistics import declaration
from pipeline.statistics.analysis import Analysis, analysis
from pipeline.training.result import DIVERGED, RunResult
from tests.support import factory


def run(optimizer: str, width: int, seed: int, train: Sequence[float], held: Sequence[float]) -> RunResult:
    """Return a finished run with these loss curves; each nat of loss costs ten points of accuracy."""
    result = factory.finished(factory.job(optimizer, width, seed, validation=100, epochs=len(train)))
    noise = np.random.default_rng([seed, width, len(optimizer)]).normal(0, 3e-4, len(held))
    losses = {"train": np.array(train), "val": np.array(held) + noise}
    accuracies = {split: 1 - values / 10 for split, values in losses.items()}
    result.history = {
        **{f"{split}/loss": list(values) for split, values in losses.items()},
        **{f"{split}/accuracy": list(values) for split, values in accuracies.items()},
        "gap/loss": list(losses["val"] - losses["train"]),
        "gap/accuracy": list(accuracies["train"] - accuracies["val"]),
    }
    for split in losses:
        result.metrics |= {f"{split}/loss": losses[split][-1], f"{split}/accuracy": accuracies[split][-1]}
    result.metrics |= {"test/accuracy": accuracies["val"][-1], "best/val_accuracy": accuracies["val"].max()}
    return result


def analysed(seeds: int, **curves: tuple[Sequence[float], Sequence[float]]) -> Analysis:
    """Analyse configurations such as `adam_64`, each given with its curves of training and held-out loss."""
    results = [
        run(name.partition("_")[0], int(name.partition("_")[2]), seed, *pair)
        for name, pair in curves.items()
        for seed in range(seeds)
    ]
    return analysis(results, declaration.load())


# adam fits further: its gap is larger at the end, but smaller where both have a training loss of 0.2.
REVERSAL = {"rmsprop_64": ([0.8, 0.4, 0.2], [0.8, 0.5, 0.4]), "adam_64": ([0.6, 0.2, 0.02], [0.6, 0.3, 0.32])}


def text(found: Analysis) -> list[str]:
    return [answer.text for answer in answers.answers(found)]


def test_each_question_has_its_own_direction():
    gap, fit, excess, accuracy = text(analysed(10, **REVERSAL))
    assert gap.startswith("adam has a larger gap than rmsprop (by 1.00 points).")
    assert fit.startswith("At equal training loss, adam generalises better than rmsprop (by 0.")
    assert "adam ends further above its lowest held-out loss than rmsprop (by 0.0" in excess
    assert accuracy.startswith("**adam, width 64** has the highest mean validation accuracy")
    assert gap.endswith("Based on 10 seeds (exploratory).")
    # A reversal is reported.
    assert "in 1 of 1 comparison the side with the larger loss gap at the end has the smaller one at equal" in fit
    assert excess.startswith("1 of 2 configurations end more than 0.005 nats above their lowest held-out loss")
    assert "the largest rise is 0.0" in excess


def test_widths_are_counted():
    wide = {f"rmsprop_{width}": ([0.8, 0.2], [0.8, 0.3 + width / 1000]) for width in (16, 64, 256)}
    gap = text(analysed(10, **wide))[0]
    assert gap.startswith(
        "The wider network has a larger gap than the next narrower one (in 2 of 2 comparisons, by 0.4"
    )


def test_few_seeds_carry_no_claim():
    gap, fit, excess, accuracy = text(analysed(3, **REVERSAL))
    assert {gap, fit, excess} == {"3 seeds are too few for a claim, which takes 10. The chart shows what was measured."}
    assert "more accurate" not in accuracy
    apart = {"rmsprop_64": ([0.8, 0.6], [0.8, 0.7]), "adam_64": ([2.0, 1.9], [2.1, 2.0])}
    assert "have no training loss in common" in text(analysed(3, **apart))[1]


def test_thirty_seeds_confirm():
    assert text(analysed(30, **REVERSAL))[0].endswith("Based on 30 seeds (enough to confirm).")


def test_equal_configurations_are_not_told_apart():
    same = {"rmsprop_64": REVERSAL["rmsprop_64"], "adam_64": REVERSAL["rmsprop_64"]}
    assert text(analysed(10, **same))[0].startswith("adam is within 0.1 points of rmsprop.")


def test_one_configuration():
    gap, *_, accuracy = text(analysed(10, adam_64=REVERSAL["adam_64"]))
    assert gap == "Only one configuration finished, so there is nothing to compare."
    assert accuracy.startswith("adam, width 64, the only configuration, classifies 96.8")


def test_a_null_value_is_named():
    results = [run("adam", 64, seed, *REVERSAL["adam_64"]) for _ in range(2) for seed in range(10)]
    for result in results[10:]:
        result.job = dataclasses.replace(result.job, training=dataclasses.replace(result.job.training, clip_norm=1.0))
        factory.made_otherwise(result)
    gap = text(analysis(results, declaration.load()))[0]
    assert gap.startswith("clip norm 1.0 is within 0.1 points of clip norm null.")


# --- the sentences of contrasts.csv


@pytest.fixture(scope="module")
def rows():
    return with_sentences(analysed(10, **REVERSAL)).set_index("figure")


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("gap_accuracy", "adam, width 64 has a larger gap than rmsprop, width 64, by 1.00 points ("),
        ("fit_loss", "At equal training loss, adam, width 64 generalises better than rmsprop"),
        ("excess_loss", "adam, width 64 ends further above its lowest held-out loss than rmsprop, width 64, by 0.0"),
        ("test_accuracy", "adam, width 64 is more accurate than rmsprop, width 64, by 0.8"),
    ],
)
def test_a_claim_says_which_way_and_how_much(rows, metric, said):
    assert rows.at[metric, "sentence"].startswith(said)
    assert "10 seeds, explored" in rows.at[metric, "sentence"]


def test_what_is_not_shown_says_why(rows):
    row = rows.loc["gap_accuracy"].copy()
    row["figure"] = "gap_accuracy"
    row["verdict"], row["lacks"], row["more_seeds"] = "no difference shown", "too few seeds; p not under alpha", 12.0
    row["holm"] = 0.2
    assert sentence(row) == (
        "No difference in accuracy gap between adam, width 64 and rmsprop, width 64 is shown: 10 seeds are too few for a claim; Holm "
        "p = 0.2. About 12 more seeds would decide."
    )


@pytest.mark.parametrize(("sign", "verdict"), [(1, "larger"), (-1, "smaller")])
def test_an_interval_that_reaches_beyond_zero_keeps_its_sign(rows, sign, verdict):
    row = rows.loc["gap_accuracy"].copy()
    row["figure"], row["verdict"], row["difference"] = "gap_accuracy", verdict, sign * 0.0013
    row["low"], row["high"] = sorted((sign * -0.0020, sign * 0.0046))
    assert "by 0.13 points (−0.20 to 0.46);" in sentence(row)


def test_seeds_are_counted_where_only_some_were_added():
    results = [run(name, 64, seed, *REVERSAL[f"{name}_64"]) for name in ("adam", "rmsprop") for seed in range(30)]
    results += [run("sgd", 64, seed, *REVERSAL["rmsprop_64"]) for seed in range(10)]
    assert text(analysis(results, declaration.load()))[0].endswith("Based on 10 to 30 seeds (exploratory).")


def test_seeds_that_are_unlike_are_no_missing_ones():
    results = [run(name, 64, seed, *REVERSAL[f"{name}_64"]) for name in ("adam", "rmsprop") for seed in range(10)]
    for result in results[10:]:
        result.identity = {**result.identity, "numerics": {"backend": "tensorflow", "device": "gpu"}}
    found = analysis(results, declaration.load())
    said = "The compared networks share no seed with the same data, code and device, so nothing is shown."
    assert all(answer.endswith(said) for answer in text(found)[:3])
    assert with_sentences(found)["note"].iloc[0].endswith("; no other seed in common, so nothing is paired")


def test_a_rate_against_defaults_that_differ_names_none_of_them():
    results = [
        run(name, 64, seed, *REVERSAL["adam_64"]) for name in ("sgd", "adam") for _ in range(3) for seed in range(10)
    ]
    for place, result in enumerate(results):
        result.job = factory.with_rate(result.job, (0.001, 0.01, 0.1)[place // 10 % 3])
        factory.made_otherwise(result)
    gap = text(analysis(results, declaration.load()))[0]
    assert (
        "learning rate 0.001, learning rate 0.1 and learning rate 0.01 are within 0.1 points of the reference." in gap
    )


def test_a_loss_without_a_margin():
    results = [run(name, 64, seed, *REVERSAL["adam_64"]) for name in ("adam", "rmsprop") for seed in range(10)]
    for result in results:
        training = dataclasses.replace(result.job.training, loss="mean_squared_error")
        result.job = dataclasses.replace(result.job, training=training)
    analysed = analysis(results, declaration.load())
    assert "nats" not in text(analysed)[2], "no size of a rise is declared either"
    found = with_sentences(analysed).set_index("figure")
    assert "no margin is declared for this loss" in found.at["gap_loss", "sentence"]
    table = statistics_tables.contrasts(analysed.contrasts)
    assert table["A − B"].str.partition(" ")[2].tolist() == ["points", "points", "", "", "points", ""]
    assert not found["sentence"].str.contains("nan").any()


def test_notes_name_the_seeds_that_are_missing():
    results = [run(name, 64, seed, *REVERSAL[f"{name}_64"]) for name in ("adam", "rmsprop") for seed in range(12)]
    results[3].identity = {**results[3].identity, "data": "other"}
    results[0] = factory.lost(results[0].job, DIVERGED, "nan")
    note = with_sentences(analysis(results, declaration.load())).iloc[0]["note"]
    assert note == "1 run of adam, width 64 did not finish; 1 seed left out: different data, code or device"


def test_what_has_no_pair_says_why():
    apart = {"rmsprop_64": ([0.8, 0.6], [0.8, 0.7]), "adam_64": ([2.0, 1.9], [2.1, 2.0])}
    row = with_sentences(analysed(10, **apart)).set_index("figure").loc["fit_loss"]
    assert row["note"] == "no seed with a common training loss, so nothing is paired"
    assert row["sentence"].endswith(" is shown: 0 seeds are too few for a claim.")
    results = [run(name, 64, seed, *apart["adam_64"]) for seed, name in enumerate(["adam", "rmsprop"] * 3)]
    assert (
        with_sentences(analysis(results, declaration.load())).iloc[0]["note"]
        == "no seed in common, so nothing is paired"
    )
