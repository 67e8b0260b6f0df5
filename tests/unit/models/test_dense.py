"""The networks: what Keras builds for a job, and where its weights start."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.cli.errors import UserError
from pipeline.config import rules
from pipeline.models import dense, initial, optimizers
from tests.support.factory import make_job

pytestmark = pytest.mark.usefixtures("keras")


def network(**changes: Any) -> Any:
    return dense.build(make_job(**changes).model, inputs=64, classes=10, dtype="float32")


def test_the_book_s_network() -> None:
    """784 to 512 to 10, 407,050 weights: listing 2.1 of the book."""
    model = make_job(width=512).model
    built = dense.build(model, inputs=784, classes=10, dtype="float32")
    assert built.count_params() == dense.parameters(model, 784, 10) == 407_050
    assert [layer.activation.__name__ for layer in built.layers] == ["relu", "softmax"]


def test_weights_have_names() -> None:
    assert list(dense.weights(network(hidden=[7, 5], dropout=0.5))) == [
        "hidden_1/kernel",
        "hidden_1/bias",
        "hidden_2/kernel",
        "hidden_2/bias",
        "classes/kernel",
        "classes/bias",
    ]


@pytest.mark.parametrize("kernel_initializer", ["glorot_uniform", "he_normal"])
def test_initial_weights_are_the_seed_s(kernel_initializer: str) -> None:
    built, model = network(), make_job(kernel_initializer=kernel_initializer).model
    dense.set_initial(built, model, seed=3)
    expected = initial.weights(kernel_initializer, 3, [64, 8, 10])
    assert all(
        np.array_equal(a, b.astype(np.float32)) for a, b in zip(dense.weights(built).values(), expected, strict=True)
    )


def test_weights_go_in_as_they_came_out() -> None:
    one, two = network(hidden=[7, 5]), network(hidden=[7, 5])
    dense.set_initial(one, make_job(hidden=[7, 5]).model, seed=1)
    dense.set_weights(two, dense.weights(one))
    assert all(np.array_equal(dense.weights(two)[name], array) for name, array in dense.weights(one).items())


def masks(built: Any, seed: int) -> np.ndarray:
    """What passes the dropout of two layers."""
    dense.set_initial(built, make_job(hidden=[7, 5], dropout=0.5).model, seed)
    layers = [layer for layer in built.layers if hasattr(layer, "seed_generator")]
    return np.concatenate([np.asarray(layer(np.ones((50, 9), np.float32), training=True)) for layer in layers])


def test_dropout_masks_are_the_seed_s() -> None:
    built = network(hidden=[7, 5], dropout=0.5)
    first, other, again = (masks(built, seed) for seed in (0, 1, 0))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert 0.4 < (first == 0).mean() < 0.6


def test_dropout_masks_are_for_good() -> None:
    """Every seed's masks start from this state: never change it."""
    built = network(dropout=0.5)
    dense.set_initial(built, make_job(dropout=0.5).model, seed=7)
    [state] = [layer.seed_generator.state for layer in built.layers if hasattr(layer, "seed_generator")]
    assert np.asarray(state).tolist() == [34067055, 469422029]


@pytest.mark.parametrize("name", rules.options("optimizer"))
def test_an_optimizer_has_the_job_s_hyperparameters(name: str) -> None:
    built = optimizers.build(make_job(name, learning_rate=0.25).optimizer)
    assert type(built).__name__ == rules.keras_class(name)
    assert float(np.asarray(built.learning_rate)) == 0.25
    for key, value in make_job(name).optimizer.hyperparameters:
        if key != "learning_rate":
            assert getattr(built, key) == value


def test_the_norm_of_all_gradients_is_limited_together() -> None:
    assert optimizers.build(make_job().optimizer, clip_norm=0.5).global_clipnorm == 0.5
    assert optimizers.build(make_job().optimizer).global_clipnorm is None


@pytest.mark.parametrize("name", ["Adm", "Optimizer2", "schedules"])
def test_a_class_that_keras_has_not_is_refused(name: str) -> None:
    """It may come from a record that anyone wrote."""
    with pytest.raises(UserError, match=rf"^optimizer=sgd: class={name}: expected a class of keras\.optim"):
        optimizers.build(replace(make_job("sgd").optimizer, keras_class=name))


def test_kernels_of_all_layers_are_penalised_and_biases_are_not() -> None:
    built = network(hidden=[7, 5], l1=0.5, l2=0.25)
    for variable in built.trainable_variables:
        variable.assign(np.full(variable.shape, 2.0))
    kernels = 64 * 7 + 7 * 5 + 5 * built.output_shape[-1]
    assert sum(float(np.asarray(loss)) for loss in built.losses) == pytest.approx(kernels * (0.5 * 2 + 0.25 * 4))
