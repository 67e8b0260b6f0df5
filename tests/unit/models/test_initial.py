"""Initial weights: the distributions of Keras's initializers, with the same values for every backend."""

from types import ModuleType

import numpy as np
import pytest

from pipeline.config.digests import arrays_digest
from pipeline.config.values import INITIALIZERS
from pipeline.models import initial

SHAPE = (400, 300)


def assert_alike(*samples: np.ndarray) -> None:
    """Assert equal distributions by the two-sample Kolmogorov-Smirnov test at the 0.1 % level."""
    own, ours = (np.sort(np.asarray(values), axis=None) for values in samples)
    both = np.concatenate([own, ours])
    shares = [np.searchsorted(values, both, side="right") / ours.size for values in (own, ours)]
    assert np.abs(shares[0] - shares[1]).max() < 1.95 * np.sqrt(2 / ours.size)


@pytest.mark.parametrize(
    ("name", "spread"),
    [*((name, {}) for name in INITIALIZERS)]
    + [(name, {"stddev": 0.03}) for name in ("random_normal", "truncated_normal")]
    + [("random_uniform", {"minval": -0.03, "maxval": 0.03})],
)
def test_the_distribution_is_kerass_own(keras: ModuleType, name: str, spread: dict[str, float]) -> None:
    keras_s = keras.initializers.get({"class_name": name, "config": {**spread, "seed": 1}})
    assert_alike(keras_s(SHAPE), initial.kernel(name, 2, 0, SHAPE, 0.03 if spread else None))


def test_a_convolution_s_fans_count_the_places_of_its_kernel(keras: ModuleType) -> None:
    keras_s, shape = keras.initializers.GlorotUniform(seed=1), (3, 3, 40, 60)
    ours, random = initial.of_keras(keras_s, 2, 0, shape)
    assert random
    assert_alike(keras_s(shape), ours)


def test_an_initializer_that_is_not_known_is_refused(keras: ModuleType) -> None:
    with pytest.raises(ValueError, match="initializer Orthogonal: expected"):
        initial.of_keras(keras.initializers.Orthogonal(), 0, 0, (3, 3))


def test_the_weights_are_pinned() -> None:
    """Every stored run started from these weights: never change them."""
    drawn = {name: initial.weights(name, 7, [5, 4, 3])[2] for name in INITIALIZERS}
    assert (
        arrays_digest({name: array.astype(np.float32) for name, array in drawn.items()})
        == "c31d1a73fe981ecc17ffc883d13eb32825d0e75e400c5edabd8991c666f566a3"
    )


def test_kernels_and_zero_biases_take_turns() -> None:
    arrays = initial.weights("glorot_uniform", 0, [5, 4, 3])
    assert [array.shape for array in arrays] == [(5, 4), (4,), (4, 3), (3,)]
    assert not arrays[1].any()
    assert not arrays[3].any()


def test_every_seed_and_every_layer_has_its_own() -> None:
    drawn = {initial.kernel("he_normal", seed, layer, (4, 4)).tobytes() for seed in range(20) for layer in range(3)}
    assert len(drawn) == 60
