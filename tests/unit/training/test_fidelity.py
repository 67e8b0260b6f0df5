"""The engine against `keras.fit`: from the same weights and the same order of batches, the same training.

float64 is where a mistake cannot hide behind rounding.
"""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.data.arrays import Arrays, split
from pipeline.models.devices import Device
from pipeline.training.result import Result
from pipeline.training.shapes import learning_rate
from tests.support.factory import make_job
from tests.unit.training.trainer import (
    IN_FLOAT32,
    IN_FLOAT64,
    PATIENCE,
    Trained,
    bits,
    cut,
    device,
    losses,
    one_of_each,
    train,
)

JOBS = one_of_each()
pytestmark = pytest.mark.timeout(PATIENCE + 20)


@pytest.mark.parametrize("name", IN_FLOAT64)
def test_an_epoch_in_float64_is_fit_s(in_float64: dict[str, Trained], name: str) -> None:
    trained = in_float64[name]
    assert losses(trained.first) == pytest.approx(losses(trained.reference), rel=1e-9, abs=0)


@pytest.mark.parametrize("name", IN_FLOAT64)
def test_the_weights_are_fit_s(in_float64: dict[str, Trained], name: str) -> None:
    engine, reference = in_float64[name].first.weights, in_float64[name].reference.weights
    assert engine is not None
    assert reference is not None
    assert list(engine) == list(reference)
    for key, array in engine.items():
        assert array.dtype == np.float64
        assert np.abs(array - reference[key]).max() < 1e-9


@pytest.mark.parametrize("name", IN_FLOAT64)
def test_both_start_from_the_same_weights(in_float64: dict[str, Trained], name: str) -> None:
    trained = in_float64[name]
    assert trained.first.digests["initial_weights"] == trained.reference.digests["initial_weights"]


@pytest.mark.parametrize("name", IN_FLOAT64)
def test_a_run_leaves_nothing_behind_for_the_next(in_float64: dict[str, Trained], name: str) -> None:
    assert bits(in_float64[name].again) == bits(in_float64[name].first)


@pytest.fixture(scope="session")
def in_float32(digits: Arrays) -> dict[str, tuple[Result, Result]]:
    """An epoch of exactly 100 steps, by the engine and by `fit`."""
    data = cut(digits, 1200)
    jobs = [make_job(name, width=16, batch_size=12, seed=1) for name in IN_FLOAT32]
    engine, reference = (train(jobs, data, device(trainer=trainer)) for trainer in ("engine", "reference"))
    return dict(zip(IN_FLOAT32, zip(engine, reference, strict=True), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_FLOAT32)
def test_a_hundred_steps_in_float32_are_fit_s(in_float32: dict[str, tuple[Result, Result]], name: str) -> None:
    engine, reference = in_float32[name]
    assert losses(engine) == pytest.approx(losses(reference), rel=1e-4, abs=0)


@pytest.fixture(scope="session")
def in_chunks(digits: Arrays) -> tuple[Result, Result]:
    """More samples than are evaluated at once, a curve on some of them, three epochs; normalised, limited, ever slower."""
    more = {"batch_normalization": True, "max_norm": 1.2, "decay": 0.5, "decay_epochs": 1, "learning_rate": 0.02}
    shape = {"hidden": [12, 7], "epochs": 3, "curve_samples": 1100, "batch_size": 128, "validation_size": 200}
    job = make_job("adam", **shape, **more, seed=2)
    data = split(digits, 200)
    [engine], [reference] = (train([job], data, plain(trainer)) for trainer in ("engine", "reference"))
    return engine, reference


def plain(trainer: str) -> Device:
    return device(precision="float64", trainer=trainer, xla=False)


@pytest.mark.slow
def test_the_curve_is_fit_s_in_every_epoch(in_chunks: tuple[Result, Result]) -> None:
    engine, reference = in_chunks
    assert list(engine.history) == list(reference.history)
    for name, values in engine.history.items():
        assert values == pytest.approx(reference.history[name], rel=1e-9, abs=1e-12), name


@pytest.mark.slow
def test_the_averages_of_normalisation_are_fit_s(in_chunks: tuple[Result, Result]) -> None:
    engine, reference = (result.weights for result in in_chunks)
    assert engine is not None
    assert reference is not None
    assert list(engine) == list(reference)
    assert {"normalization_1/gamma", "normalization_2/moving_variance"} < set(engine)
    for key, array in engine.items():
        assert array == pytest.approx(reference[key], rel=1e-9, abs=1e-9), key


@pytest.mark.slow
def test_no_unit_is_over_its_limit(in_chunks: tuple[Result, Result]) -> None:
    weights = in_chunks[0].weights
    assert weights is not None
    norms = np.linalg.norm(weights["hidden_1/kernel"], axis=0)
    assert norms.max() == pytest.approx(1.2, rel=1e-5)
    assert np.linalg.norm(weights["classes/kernel"], axis=0).max() > 1.2, "there is no limit on the last layer"


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["engine", "reference"])
def test_training_ends_when_validation_no_longer_improves(digits: Arrays, trainer: str) -> None:
    job = make_job("adam", learning_rate=0.05, epochs=40, patience=2, seed=2)
    [result] = train([job], cut(digits, 237), device(xla=False, trainer=trainer))
    losses_seen = result.history["val/loss"]
    assert len(losses_seen) < 40
    # The last epoch's figure is measured anew, on all samples: equal up to rounding.
    assert int(np.argmin(losses_seen)) == len(losses_seen) - 3


def test_the_learning_rate_goes_down_by_stairs() -> None:
    job = make_job("adam", learning_rate=0.1, epochs=7, decay=0.5, decay_epochs=3)
    assert [learning_rate(job, epoch) for epoch in range(7)] == [0.1] * 3 + [0.05] * 3 + [0.025]


@pytest.mark.slow
def test_without_xla_even_the_masks_of_dropout_are_fit_s(digits: Arrays) -> None:
    job = make_job("adam", hidden=[12, 7], dropout=0.3, input_dropout=0.1, seed=2)
    [engine], [reference] = (train([job], cut(digits, 237), plain(trainer)) for trainer in ("engine", "reference"))
    assert losses(engine) == pytest.approx(losses(reference), rel=1e-9, abs=0)
