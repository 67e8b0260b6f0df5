"""The networks: what Keras builds for a job, and where its weights start."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.config.values import ACTIVATIONS
from pipeline.models import dense, initial, optimizers
from pipeline.models.optimizers import CLASSES
from pipeline.report import layers
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


@pytest.mark.parametrize("name", CLASSES)
def test_an_optimizer_has_the_job_s_hyperparameters(name: str) -> None:
    built = optimizers.build(make_job(name, learning_rate=0.25).optimizer)
    assert type(built).__name__ == CLASSES[name]
    assert float(np.asarray(built.learning_rate)) == 0.25
    for key, value in make_job(name).optimizer.hyperparameters:
        if key != "learning_rate":
            assert getattr(built, key) == value


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_report_knows_a_forward_pass_without_keras(activation: str) -> None:
    """For every activation that a configuration may name, with batch normalisation in between."""
    model = make_job(hidden=[7, 5], activation=activation, batch_normalization=True).model
    built, random = dense.build(model, inputs=64, classes=10, dtype="float32"), np.random.default_rng(0)
    weights = {name: random.uniform(0.1, 1, array.shape) for name, array in dense.weights(built).items()}
    weights = {name: (array - 0.5 * name.endswith("kernel")).astype(np.float32) for name, array in weights.items()}
    dense.set_weights(built, weights)
    images = random.random((20, 64), dtype=np.float32)
    [_, *hidden, (_, logits)] = layers.outputs(model, weights, images)
    assert [values.shape for _, values in hidden] == [(20, 7), (20, 5)]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = np.asarray(built(images, training=False))
    assert np.allclose(powers / powers.sum(axis=1, keepdims=True), expected, atol=1e-5)
