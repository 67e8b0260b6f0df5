"""Initial weights: distributed as Keras's initializers of the same names, and one set of them for every backend."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from pipeline.config.digests import arrays_digest
from pipeline.config.values import INITIALIZERS
from pipeline.models import initial

SHAPE = (400, 300)
COUNT = SHAPE[0] * SHAPE[1]


@pytest.mark.parametrize("name", INITIALIZERS)
def test_the_distribution_is_kerass_own(keras: ModuleType, name: str) -> None:
    """The largest distance of the two distribution functions (Kolmogorov and Smirnov), 0.1 % level."""
    own = np.sort(np.asarray(keras.initializers.get(name)(SHAPE)), axis=None)
    ours = np.sort(initial.kernel(name, seed=2, layer=0, shape=SHAPE), axis=None)
    both = np.concatenate([own, ours])
    shares = [np.searchsorted(values, both, side="right") / COUNT for values in (own, ours)]
    assert np.abs(shares[0] - shares[1]).max() < 1.95 * np.sqrt(2 / COUNT)


def test_the_weights_are_pinned() -> None:
    """Every stored run started from these: never change them."""
    drawn = {name: initial.weights(name, 7, [5, 4, 3])[2] for name in INITIALIZERS}
    assert (
        arrays_digest({name: array.astype(np.float32) for name, array in drawn.items()})
        == "4f524b14551127f08993e612f1a80ebb447a40a54ef7ed3bb04bcc43c872a45b"
    )


def test_kernels_and_zero_biases_take_turns() -> None:
    arrays = initial.weights("glorot_uniform", 0, [5, 4, 3])
    assert [array.shape for array in arrays] == [(5, 4), (4,), (4, 3), (3,)]
    assert not arrays[1].any()
    assert not arrays[3].any()


def test_every_seed_and_every_layer_has_its_own() -> None:
    drawn = {initial.kernel("he_normal", seed, layer, (4, 4)).tobytes() for seed in range(20) for layer in range(3)}
    assert len(drawn) == 60
