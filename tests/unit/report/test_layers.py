"""What the layers make of the test images: only where the weights give what was recorded."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.report import layers
from pipeline.training.result import RunResult
from tests.support import factory


@pytest.fixture
def best() -> RunResult:
    return factory.with_network(factory.finished(factory.job(width=48)))


def test_the_layers_sift_the_digits(best: RunResult) -> None:
    pixels, hidden, output = layers.layers(best, factory.arrays())
    assert [layer.name for layer in (pixels, hidden, output)] == [
        "pixels",
        "hidden layer",
        "output, before the softmax",
    ]
    assert [layer.units for layer in (pixels, hidden, output)] == [64, 48, 10]
    assert pixels.between < hidden.between < output.between
    assert all(0.8 < layer.hit < 1 for layer in (pixels, hidden, output))
    assert all(layer.hit_in_plane < layer.hit for layer in (pixels, hidden, output))
    assert pixels.measured == len(pixels.places) == len(pixels.labels) == 360


def test_the_output_is_what_the_probabilities_are_made_of(best: RunResult) -> None:
    assert best.weights is not None
    images = factory.digits()["test_images"]
    [*_, (_, logits)] = layers.outputs(best.job.model, best.weights, images)
    assert np.allclose(factory.softmax(logits), best.probabilities, atol=1e-6)


def test_weights_that_give_something_else_are_not_shown(best: RunResult) -> None:
    assert best.predictions is not None
    best.predictions = (best.predictions + 1) % 10
    assert layers.layers(best, factory.arrays()) == []
