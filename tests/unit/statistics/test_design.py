"""The design of a sweep: its factors, and which configurations are contrasted with which."""

import dataclasses

import pytest

from pipeline.config.run_config import CustomModel, RunConfig
from pipeline.statistics import design
from pipeline.statistics.declaration import DEPTH, NETWORK, OPTIMIZER, TRAIN_SIZE, WIDTH, Declaration
from pipeline.statistics.summary import values_of
from tests.support import factory


def job(optimizer="rmsprop", hidden=(64,), size=0, seed=0, rate=None, **changed) -> RunConfig:
    """Return a job; `changed` sets fields of the model or of training."""
    given = {"learning_rate": rate} if rate else {}
    return factory.make_job(optimizer, hidden=list(hidden), train_size=size, seed=seed, epochs=5, **given, **changed)


def laid(jobs, declared):
    results = [factory.finished(each) for each in jobs]
    by_id = {each.configuration: each for each in jobs}
    table = design.configurations(design.runs_of(results), by_id)
    return table, design.design(by_id, declared)


def named(jobs, declared, factor):
    table, found = laid(jobs, declared)
    return [(c.at, table.at[c.a, "label"], table.at[c.b, "label"]) for c in found.contrasts if c.factor == factor]


def reference(jobs, declared, factor):
    return next(each for each in laid(jobs, declared)[1].references if each.factor == factor)


def grid(optimizers=("rmsprop", "adam"), widths=(16, 64), **changed):
    return [job(optimizer, (width,), **changed) for optimizer in optimizers for width in widths]


# --- factors


def factors(jobs):
    return design.factors([values_of(each) for each in jobs])


def test_whatever_was_swept_is_a_factor():
    jobs = [job(dropout=dropout, batch_size=size) for dropout in (0.0, 0.5) for size in (32, 128)]
    assert factors(jobs) == ["model.dropout", "training.batch_size"]


def test_a_rate_tuned_for_each_optimizer_and_width_is_no_factor():
    rates = iter([0.1, 0.2, 0.003, 0.004])
    jobs = [job(optimizer, (width,), rate=next(rates)) for optimizer in ("sgd", "adam") for width in (16, 64)]
    assert factors(jobs) == ["optimizer.name", "model.hidden"]


# --- configurations


def test_labels_name_every_factor(declared: Declaration):
    jobs = [job("adam", (64, 64), size, dropout=dropout) for size in (0, 2_000) for dropout in (0.0, 0.5)]
    table, _ = laid(jobs, declared)
    assert table["label"].tolist() == [
        "adam, width 64, 2 layers, all samples, dropout 0.0",
        "adam, width 64, 2 layers, all samples, dropout 0.5",
        "adam, width 64, 2 layers, 2,000 samples, dropout 0.0",
        "adam, width 64, 2 layers, 2,000 samples, dropout 0.5",
    ]


def test_a_null_value_is_named_like_any_other(declared: Declaration):
    table, found = laid([job(name, clip_norm=norm) for name in ("rmsprop", "adam") for norm in (None, 1.0)], declared)
    assert table["label"].tolist()[:2] == ["rmsprop, width 64, clip norm null", "rmsprop, width 64, clip norm 1.0"]
    shared = [contrast.at for contrast in found.contrasts if contrast.factor == OPTIMIZER]
    assert shared == ["width 64, clip norm null", "width 64, clip norm 1.0"]


# --- contrasts


def test_each_optimizer_against_the_declared_one_at_equal_width(declared):
    assert named(grid(("sgd", "rmsprop", "adam")), declared, OPTIMIZER) == [
        ("width 16", "sgd, width 16", "rmsprop, width 16"),
        ("width 16", "adam, width 16", "rmsprop, width 16"),
        ("width 64", "sgd, width 64", "rmsprop, width 64"),
        ("width 64", "adam, width 64", "rmsprop, width 64"),
    ]


def test_the_first_one_stands_in_for_a_reference_that_was_not_swept(declared):
    jobs = grid(("sgd", "adam"), (64,))
    assert named(jobs, declared, OPTIMIZER) == [("width 64", "adam, width 64", "sgd, width 64")]
    found = reference(jobs, declared, OPTIMIZER)
    assert (found.declared, found.used, found.replaced) == ("rmsprop", "sgd", True)
    assert not reference(grid(), declared, OPTIMIZER).replaced


def test_each_width_against_the_next_smaller_one(declared):
    assert named(grid(("adam",), (64, 512, 16)), declared, WIDTH) == [
        ("adam", "adam, width 64", "adam, width 16"),
        ("adam", "adam, width 512", "adam, width 64"),
    ]


def test_widths_at_equal_depth_and_depths_at_equal_width(declared):
    jobs = [job("adam", (width,) * depth) for width in (16, 64) for depth in (1, 3)]
    assert named(jobs, declared, WIDTH) == [
        ("adam", "adam, width 64", "adam, width 16"),
        ("adam, 3 layers", "adam, width 64, 3 layers", "adam, width 16, 3 layers"),
    ]
    assert named(jobs, declared, DEPTH) == [
        ("adam, width 16", "adam, width 16, 3 layers", "adam, width 16"),
        ("adam, width 64", "adam, width 64, 3 layers", "adam, width 64"),
    ]


def test_all_images_are_the_largest_training_size(declared):
    assert named([job(size=size) for size in (0, 10_000, 2_000)], declared, TRAIN_SIZE) == [
        ("rmsprop, width 64", "rmsprop, width 64, 10,000 samples", "rmsprop, width 64, 2,000 samples"),
        ("rmsprop, width 64", "rmsprop, width 64, all samples", "rmsprop, width 64, 10,000 samples"),
    ]


def test_all_other_factors_agree(declared):
    jobs = [job(optimizer, dropout=dropout) for optimizer in ("rmsprop", "adam") for dropout in (0.0, 0.5)]
    _, found = laid(jobs, declared)
    for contrast in found.contrasts:
        a, b = (next(each for each in jobs if each.configuration == name) for name in (contrast.a, contrast.b))
        assert (a.optimizer == b.optimizer) != (a.model.dropout == b.model.dropout)
    assert len(found.contrasts) == 4
    assert found.contrasts[0].at == "width 64, dropout 0.0"


def test_where_rates_were_swept_optimizers_are_contrasted_at_their_defaults(declared):
    jobs = [job(name, rate=rate) for name in ("rmsprop", "sgd") for rate in (0.1, 0.01, 0.001)]
    assert named(jobs, declared, OPTIMIZER) == [
        ("width 64", "sgd, width 64, learning rate 0.01", "rmsprop, width 64, learning rate 0.001")
    ]
    assert len(named(jobs, declared, "optimizer.learning_rate")) == 4


@pytest.mark.parametrize("optimizers", [("sgd", "adam"), ("adam", "sgd")], ids=str)
def test_a_rate_is_held_against_the_default_of_its_own_optimizer(declared, optimizers):
    jobs = [job(name, rate=rate) for name in optimizers for rate in (0.001, 0.01, 0.1)]
    found = {
        (b.partition(",")[0], b.rpartition(" ")[2]) for _, _, b in named(jobs, declared, "optimizer.learning_rate")
    }
    assert found == {("sgd", "0.01"), ("adam", "0.001")}


def test_a_default_that_one_optimizer_lacks_is_replaced_for_this_one(declared):
    jobs = [job(name, rate=rate) for name in ("sgd", "adam") for rate in (0.01, 0.1)]
    assert [b for _, _, b in named(jobs, declared, "optimizer.learning_rate")] == [
        "sgd, width 64, learning rate 0.01",
        "adam, width 64, learning rate 0.01",
    ]
    references = laid(jobs, declared)[1].references
    assert [(each.declared, each.used) for each in references if each.replaced and each.factor != OPTIMIZER] == [
        (0.001, 0.01)
    ]


def test_an_argument_of_a_network_is_held_against_the_default_of_that_network(declared):
    jobs = [job("adam"), *(custom("residual", width=64, blocks=blocks, activation="relu") for blocks in (1, 2, 3))]
    assert {b for _, _, b in named(jobs, declared, "model.blocks")} == {"adam, residual, width 64, blocks 2"}


def test_a_factor_without_a_pair_is_named(declared):
    jobs = [job(batch_size=32), job(batch_size=64, dropout=0.5), job(batch_size=128, dropout=0.5)]
    assert laid(jobs, declared)[1].absent == ["model.dropout"]


# --- networks


def custom(name, optimizer="adam", **arguments) -> RunConfig:
    build = f"pipeline.models.{name}.build"
    return dataclasses.replace(job(optimizer), model=CustomModel(name, build, tuple(sorted(arguments.items()))))


def test_each_network_against_dense_at_its_own_defaults(declared):
    residual = [custom("residual", width=width, blocks=2, activation="relu") for width in (64, 128)]
    jobs = [job("adam", (64,)), job("adam", (512,)), *residual, custom("logistic")]
    assert named(jobs, declared, NETWORK) == [
        ("adam, width 64", "adam, residual, width 64", "adam, dense, width 64"),
        ("adam", "adam, logistic", "adam, dense, width 512"),
    ]
    assert reference(jobs, declared, NETWORK).used == "dense"
    assert named(jobs, declared, WIDTH) == [
        ("adam, dense", "adam, dense, width 512", "adam, dense, width 64"),
        ("adam, residual", "adam, residual, width 128", "adam, residual, width 64"),
    ]


def test_arguments_of_a_network_are_factors_under_their_names(declared):
    jobs = [custom("convolutional", filters=filters, dense=128) for filters in ((16, 32), (8, 8))]
    assert factors(jobs) == ["model.filters"]
    assert named(jobs, declared, "model.filters") == [
        ("adam, convolutional", "adam, convolutional, filters 8, 8", "adam, convolutional, filters 16, 32")
    ]
