"""The engine on JAX: what `on_jax` found in its own process, a fact each."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.data.arrays import Arrays
from tests.unit.training.trainer import NORMALISED, ON_JAX, PATIENCE, Trained, cut, device, losses, one_of_each, train

JOBS = one_of_each()
pytestmark = [pytest.mark.slow, pytest.mark.timeout(PATIENCE + 20)]
ALIKE = [name for name in ON_JAX if name != "schedule_free_adamw"]


@pytest.mark.parametrize("name", ALIKE)
def test_it_trains_what_the_engine_on_tensorflow_trains(
    on_jax: dict[str, Any], in_float64: dict[str, Trained], name: str
) -> None:
    """Keras on JAX takes means in float32, which a squared error shows; and XLA has a tanh of its own."""
    job = JOBS[name]
    rounded = job.training.loss == "mean_squared_error" or job.model.activation == "tanh"
    found, expected = on_jax["losses"][name], losses(in_float64[name].first)
    assert found == pytest.approx({key: expected[key] for key in found}, rel=1e-7 if rounded else 1e-9, abs=0)


@pytest.mark.skipif("schedule_free_adamw" not in ON_JAX, reason="TESTS=all trains it")
def test_schedule_free_is_fit_s_on_jax(on_jax: dict[str, Any]) -> None:
    """On TensorFlow, Keras's ScheduleFreeAdamW takes the old momentum from where the new one stands already."""
    found = on_jax["losses"]["schedule_free_adamw"]
    assert found == pytest.approx({key: on_jax["fit"][key] for key in found}, rel=1e-9, abs=0)


def test_normalised_limited_and_ever_slower_it_trains_the_same(on_jax: dict[str, Any], digits: Arrays) -> None:
    [engine] = train([NORMALISED], cut(digits, 237), device(precision="float64", xla=False))
    # Keras on JAX takes the means of normalisation in float32.
    assert on_jax["normalised"] == pytest.approx(losses(engine), rel=1e-7, abs=0)


def test_each_run_of_a_stack_ends_in_its_own_time(on_jax: dict[str, Any]) -> None:
    epochs, _ = on_jax["patient"]
    assert len(set(epochs)) > 1
    assert min(epochs) < 9


@pytest.mark.parametrize("how", ["alone or with another", "in another place beside another", "seeds differ"])
def test_a_run_s_bits_are_its_own(on_jax: dict[str, Any], how: str) -> None:
    assert on_jax["same bits"][how]


def test_ten_learning_rates_and_ten_seeds_compile_once(on_jax: dict[str, Any]) -> None:
    assert on_jax["compilations"] == 1


def test_a_stack_that_does_not_fit_is_halved_for_good(on_jax: dict[str, Any]) -> None:
    assert on_jax["out of memory"]["sizes"] == [8, 4, 2, 2]


def test_a_run_that_diverges_leaves_its_neighbours_alone(on_jax: dict[str, Any]) -> None:
    assert [status for status, _, _ in on_jax["unlucky"]] == ["finished", "diverged", "finished"]
    assert [epochs for _, _, epochs in on_jax["unlucky"]] == [2, 1, 2]
    assert "is nan after epoch 1" in on_jax["unlucky"][1][1]


def test_a_shape_that_fails_leaves_the_others_alone(on_jax: dict[str, Any]) -> None:
    reason = "ValueError: no such shape"
    assert on_jax["failing"] == [["failed", reason], ["failed", reason], ["finished", None]]
