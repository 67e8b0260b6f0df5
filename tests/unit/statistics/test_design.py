"""Which configurations are contrasted, and what is said where none can be."""

from __future__ import annotations

import pandas as pd
import pytest

from pipeline.report.prose import limits
from pipeline.statistics import design
from pipeline.statistics.declaration import OPTIMIZERS, WIDTHS
from pipeline.training.result import DIVERGED, FAILED
from tests.support import factory


def sweep(optimizers=("sgd", "momentum", "adam"), widths=(16, 64), seeds=3, **job):
    job = {"validation": 10, **job}
    return [
        factory.finished(factory.job(optimizer, width, seed, **job))
        for optimizer in optimizers
        for width in widths
        for seed in range(seeds)
    ]


def laid(results, declared):
    table = design.configurations(design.runs_of(results))
    return table, design.design(table, declared)


def named(results, declared, contrast):
    table, found = laid(results, declared)
    return [(c.at, table.loc[c.a, "label"], table.loc[c.b, "label"]) for c in found.contrasts if c.declared == contrast]


def rated(rate, optimizer="sgd", width=64, seeds=3, accuracy=None):
    results = [
        factory.finished(factory.with_rate(factory.job(optimizer, width, seed, 10), rate)) for seed in range(seeds)
    ]
    for result in results:
        if accuracy is not None:
            result.figures["best/val_accuracy"] = accuracy
    return results


# -- configurations


def test_a_row_per_configuration(declared):
    results = [*sweep(("adam",), (64,)), factory.lost(factory.job("adam", 64, 3, 10), DIVERGED, "nan")]
    results.append(factory.lost(factory.job("adam", 64, 4, 10), FAILED, "memory"))
    row = design.configurations(design.runs_of(results)).iloc[0]
    assert row[["n", "diverged", "failed", "label"]].tolist() == [3, 1, 1, "adam, width 64"]
    assert row["validation"] == pytest.approx(sum(r.figures["best/val_accuracy"] for r in results[:3]) / 3)


def test_labels_tell_configurations_apart():
    table = design.configurations(design.runs_of([*rated(0.1), *rated(0.01), *sweep(("adam",), (64,))]))
    assert table["label"].tolist() == [
        "sgd, width 64, learning rate 0.1",
        "sgd, width 64, learning rate 0.01",
        "adam, width 64",
    ]


# -- each optimizer against the best


def test_each_optimizer_against_the_best_at_equal_width(declared):
    assert named(sweep(), declared, OPTIMIZERS) == [
        ("width 16", "sgd, width 16", "adam, width 16"),
        ("width 16", "momentum, width 16", "adam, width 16"),
        ("width 64", "sgd, width 64", "adam, width 64"),
        ("width 64", "momentum, width 64", "adam, width 64"),
    ]


def test_the_best_is_chosen_on_the_validation_split(declared):
    results = sweep(("sgd", "adam"), (64,))
    for result in results:
        result.figures["best/val_accuracy"] = 0.9 if result.job.optimizer.name == "sgd" else 0.8
    assert named(results, declared, OPTIMIZERS) == [("width 64", "adam, width 64", "sgd, width 64")]


def test_the_best_of_few_seeds_is_not_the_best(declared):
    results = [*rated(0.01, accuracy=0.90, seeds=10), *rated(0.001, "adam", accuracy=0.99, seeds=4)]
    assert named(results, declared, OPTIMIZERS) == [("width 64", "adam, width 64", "sgd, width 64")]


def test_a_lost_run_or_two_do_not_keep_from_being_the_best(declared):
    results = [*rated(0.01, accuracy=0.90, seeds=10), *rated(0.001, "adam", accuracy=0.99, seeds=8)]
    assert named(results, declared, OPTIMIZERS) == [("width 64", "sgd, width 64", "adam, width 64")]


def test_each_optimizer_stands_with_its_best_rate(declared):
    results = [*rated(0.1, accuracy=0.7), *rated(0.01, accuracy=0.8), *rated(0.001, "adam", accuracy=0.9)]
    assert named(results, declared, OPTIMIZERS) == [("width 64", "sgd, width 64, learning rate 0.01", "adam, width 64")]


def test_without_validation_there_is_no_best(declared):
    _, found = laid(sweep(validation=0), declared)
    assert {contrast.declared for contrast in found.contrasts} == {WIDTHS}
    said = limits.of_design(found, pd.DataFrame())
    assert said == [
        (
            "Each optimizer against the best at equal width: on mnist, at width 16; width 64, there is no validation accuracy to "
            "choose the best by, and the test split is not for choosing."
        )
    ]


def test_other_settings_are_not_mixed(declared):
    results = [*sweep(("sgd", "adam"), (64,)), *sweep(("sgd", "adam"), (64,), epochs=20)]
    table, found = laid(results, declared)
    assert [contrast.at for contrast in found.contrasts] == ["width 64, epochs 5", "width 64, epochs 20"]
    assert all(table.loc[contrast.a, "epochs"] == table.loc[contrast.b, "epochs"] for contrast in found.contrasts)


# -- each width against the next


def test_each_width_against_the_next(declared):
    assert named(sweep(("adam",), (64, 512, 16)), declared, WIDTHS) == [
        ("adam", "adam, width 64", "adam, width 16"),
        ("adam", "adam, width 512", "adam, width 64"),
    ]


# -- the family


def test_the_best_counts_for_the_pairs_it_was_chosen_from(declared):
    """Three optimizers, two widths: 2 × 2 contrasts, out of 2 × 3 pairs; each width against the next is 3 × 1."""
    _, found = laid(sweep(), declared)
    assert found.comparisons == {("mnist", OPTIMIZERS): 6, ("mnist", WIDTHS): 3}


def test_rates_count_too(declared):
    """Two rates of sgd and one of adam: either pair could have been the one."""
    _, found = laid([*rated(0.1), *rated(0.01), *rated(0.001, "adam")], declared)
    assert found.comparisons == {("mnist", OPTIMIZERS): 2}


# -- limits


# -- from reports/runs.csv


def test_the_file_of_runs_serves_as_well(declared, tmp_path):
    results = sweep()
    runs = design.runs_of(results)
    path = tmp_path / "runs.csv"
    runs.drop(columns=["configuration", "started", "identity", "loss"]).to_csv(path, index=False)
    table = design.configurations(design.completed(pd.read_csv(path)))
    found, whole = design.design(table, declared), laid(results, declared)[1]
    assert [contrast.at for contrast in found.contrasts] == [contrast.at for contrast in whole.contrasts]
    assert found.comparisons == whole.comparisons
    assert table["label"].tolist() == design.configurations(runs)["label"].tolist()


# -- cells


def test_cells_are_of_the_largest_part(declared):
    results = [*sweep(), *sweep(("adam",), epochs=20), *rated(0.1, "adam", 64)]
    table = design.configurations(design.runs_of(results))
    cells = design.cells(table, declared)
    assert len(cells) == 6
    assert set(cells["epochs"]) == {5}
