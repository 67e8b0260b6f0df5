"""The engines against `keras.fit`: from the same weights and the same order of batches, the same training.

float64 is where a mistake cannot hide behind rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.data.arrays import Arrays
from pipeline.models.devices import Device
from pipeline.training.result import RunResult
from tests.support.factory import make_job
from tests.unit.training.trainer import (
    IN_FLOAT32,
    IN_FLOAT64,
    ON_JAX,
    PATIENCE,
    WITH_MORE,
    Trained,
    bits,
    cut,
    device,
    losses,
    one_of_each,
    train,
    with_more,
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
def in_float32(digits: Arrays) -> dict[str, tuple[RunResult, RunResult]]:
    """An epoch of exactly 100 steps, by the engine and by `fit`."""
    data = cut(digits, 1200)
    jobs = [make_job(name, width=16, batch_size=12, seed=1) for name in IN_FLOAT32]
    engine, reference = (train(jobs, data, device(trainer=trainer)) for trainer in ("engine", "reference"))
    return dict(zip(IN_FLOAT32, zip(engine, reference, strict=True), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_FLOAT32)
def test_a_hundred_steps_in_float32_are_fit_s(in_float32: dict[str, tuple[RunResult, RunResult]], name: str) -> None:
    engine, reference = in_float32[name]
    assert losses(engine) == pytest.approx(losses(reference), rel=1e-4, abs=0)


Pair = tuple[RunResult, RunResult]
"""By the engine, and by `fit`."""


@pytest.fixture(scope="session")
def more(digits: Arrays) -> dict[str, Pair]:
    data, jobs = cut(digits, 1100, held_out=200), [with_more(name) for name in WITH_MORE]
    engine, reference = (train(jobs, data, plain(trainer)) for trainer in ("engine", "reference"))
    return dict(zip(WITH_MORE, zip(engine, reference, strict=True), strict=True))


def plain(trainer: str) -> Device:
    return device(precision="float64", trainer=trainer, xla=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_MORE)
def test_the_curve_is_fit_s_at_every_point(more: dict[str, Pair], name: str) -> None:
    engine, reference = more[name]
    assert engine.epochs == reference.epochs == [2, 3]
    assert list(engine.history) == list(reference.history)
    for metric, values in engine.history.items():
        assert values == pytest.approx(reference.history[metric], rel=1e-9, abs=1e-12), metric


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_MORE)
def test_the_figures_are_fit_s(more: dict[str, Pair], name: str) -> None:
    engine, reference = (
        {figure: value for figure, value in result.figures.items() if figure != "time/train_s"} for result in more[name]
    )
    assert engine == pytest.approx(reference, rel=1e-9, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_MORE)
def test_the_weights_and_the_averages_of_normalisation_are_fit_s(more: dict[str, Pair], name: str) -> None:
    engine, reference = (result.weights for result in more[name])
    assert engine is not None
    assert reference is not None
    assert list(engine) == list(reference)
    for key, array in engine.items():
        assert array == pytest.approx(reference[key], rel=1e-9, abs=1e-9), key


@pytest.mark.slow
def test_no_unit_is_over_its_limit(more: dict[str, Pair]) -> None:
    weights = more["normalised"][0].weights
    assert weights is not None
    norms = np.linalg.norm(weights["hidden_1/kernel"], axis=0)
    assert norms.max() == pytest.approx(1.2, rel=1e-5)
    assert np.linalg.norm(weights["classes/kernel"], axis=0).max() > 1.2, "there is no limit on the last layer"


@pytest.mark.slow
def test_penalties_and_smoothing_are_in_the_running_loss_alone(more: dict[str, Pair]) -> None:
    """The last weights on the training samples: the running loss holds more than the curve by far."""
    result = more["smoothed"][0]
    weights = result.weights
    assert weights is not None
    penalty = 0.001 * sum(np.abs(array).sum() for key, array in weights.items() if key.endswith("kernel"))
    assert result.history["running/loss"][-1] - result.history["train/loss"][-1] > 0.9 * penalty > 0.05


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["engine", "reference"])
@pytest.mark.parametrize("every", [1, 3])
def test_training_ends_when_validation_no_longer_improves(digits: Arrays, trainer: str, every: int) -> None:
    job = make_job("adam", learning_rate=0.05, epochs=40, patience=2, evaluate_every=every, seed=2)
    [result] = train([job], cut(digits, 237), device(xla=False, trainer=trainer))
    losses_seen = result.history["val/loss"]
    assert result.epochs == [every * number for number in range(1, len(losses_seen) + 1)]
    assert result.figures["time/epochs"] == result.epochs[-1] < 40
    assert int(np.argmin(losses_seen)) == len(losses_seen) - 3


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["engine", "reference"])
def test_training_ends_at_a_training_loss(digits: Arrays, trainer: str) -> None:
    job = make_job("adam", learning_rate=0.05, epochs=40, stop_at_loss=0.5, seed=2)
    [result] = train([job], cut(digits, 237), device(xla=False, trainer=trainer))
    *before, last = result.history["train/loss"]
    assert last <= 0.5 < min(before)


@pytest.mark.slow
def test_without_xla_even_the_masks_of_dropout_are_fit_s(digits: Arrays) -> None:
    job = make_job("adam", hidden=[12, 7], dropout=0.3, input_dropout=0.1, seed=2)
    [engine], [reference] = (train([job], cut(digits, 237), plain(trainer)) for trainer in ("engine", "reference"))
    assert losses(engine) == pytest.approx(losses(reference), rel=1e-9, abs=0)


# --- the engine on JAX: what `on_jax` found in its own process, a fact each

ALIKE = [name for name in ON_JAX if name != "schedule_free_adamw"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ALIKE)
def test_it_trains_what_the_engine_on_tensorflow_trains(
    on_jax: dict[str, Any], in_float64: dict[str, Trained], name: str
) -> None:
    """Keras on JAX takes means in float32, which a squared error shows; and XLA has a tanh of its own."""
    job = JOBS[name]
    rounded = job.training.loss == "mean_squared_error" or job.model.activation == "tanh"
    found, expected = on_jax["losses"][name], losses(in_float64[name].first)
    assert found == pytest.approx({key: expected[key] for key in found}, rel=1e-7 if rounded else 1e-9, abs=0)


@pytest.mark.slow
@pytest.mark.skipif("schedule_free_adamw" not in ON_JAX, reason="TESTS=all trains it")
def test_schedule_free_is_fit_s_on_jax(on_jax: dict[str, Any]) -> None:
    """On TensorFlow, Keras's ScheduleFreeAdamW takes the old momentum from where the new one stands already."""
    found = on_jax["losses"]["schedule_free_adamw"]
    assert found == pytest.approx({key: on_jax["fit"][key] for key in found}, rel=1e-9, abs=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_MORE)
def test_with_more_values_it_trains_the_same_on_jax(on_jax: dict[str, Any], more: dict[str, Pair], name: str) -> None:
    # Keras on JAX takes means in float32, TensorFlow a momentum of 0.9.
    assert on_jax["more"][name] == pytest.approx(losses(more[name][0]), rel=1e-6, abs=0)


@pytest.mark.slow
def test_each_run_of_a_stack_ends_in_its_own_time(on_jax: dict[str, Any]) -> None:
    epochs = on_jax["patient"]
    assert len(set(epochs)) > 1
    assert min(epochs) < 9


@pytest.mark.slow
def test_a_run_of_a_stack_is_pruned_alone(on_jax: dict[str, Any]) -> None:
    assert on_jax["pruned"] == [["finished", [1, 2, 3]], ["pruned", [1, 2]], ["finished", [1, 2, 3]]]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["alone or with another", "in another place beside another", "seeds differ"])
def test_a_run_s_bits_are_its_own(on_jax: dict[str, Any], how: str) -> None:
    assert on_jax["same bits"][how]


@pytest.mark.slow
def test_ten_learning_rates_and_ten_seeds_compile_once(on_jax: dict[str, Any]) -> None:
    assert on_jax["compilations"] == 1


@pytest.mark.slow
def test_a_stack_that_does_not_fit_is_halved_for_good(on_jax: dict[str, Any]) -> None:
    """What had ended stays as it was, and the others have the bits of the smaller stack."""
    assert on_jax["out of memory"]["sizes"] == [8, 4, 2, 2]
    assert on_jax["out of memory"]["status"] == ["diverged"] + ["finished"] * 4
    assert on_jax["out of memory"]["as with the small stack"]


@pytest.mark.slow
def test_a_run_that_diverges_leaves_its_neighbours_alone(on_jax: dict[str, Any]) -> None:
    assert [status for status, _, _ in on_jax["unlucky"]] == ["finished", "diverged", "finished"]
    assert [epochs for _, _, epochs in on_jax["unlucky"]] == [2, 1, 2]
    assert "is nan after epoch 1" in on_jax["unlucky"][1][1]


@pytest.mark.slow
def test_a_shape_that_fails_leaves_the_others_alone(on_jax: dict[str, Any]) -> None:
    reason = "ValueError: no such shape"
    assert on_jax["failing"] == [["failed", reason], ["failed", reason], ["finished", None]]
