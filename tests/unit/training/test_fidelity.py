"""The engines give the results of `keras.fit` for the same initial weights and order of batches.

They are compared in float64, where rounding cannot hide a mistake.
"""

from typing import Any

import numpy as np
import pytest

from pipeline.config.run_config import RunConfig
from pipeline.data.arrays import Arrays
from pipeline.models.devices import Device
from pipeline.training.result import RunResult
from pipeline.training.splits import Split
from tests.support.factory import make_job
from tests.unit.training.trainer import (
    IN_FLOAT64,
    ON_JAX,
    OWN,
    WITH_MORE,
    Trained,
    bits,
    cut,
    device,
    losses,
    train,
)

pytestmark = pytest.mark.timeout(480)

Pair = tuple[RunResult, RunResult]
"""The results of the engine and of `fit`."""


@pytest.mark.parametrize("name", IN_FLOAT64)
def test_an_epoch_in_float64_is_fit_s(in_float64: dict[str, Trained], name: str) -> None:
    trained = in_float64[name]
    assert trained.first.digests["initial_weights"] == trained.reference.digests["initial_weights"]
    assert losses(trained.first) == pytest.approx(losses(trained.reference), rel=1e-9, abs=0)
    assert_same_weights(trained.first, trained.reference)


def assert_same_weights(result: RunResult, other: RunResult) -> None:
    assert list(result.weights) == list(other.weights)
    for key, array in result.weights.items():
        assert array == pytest.approx(other.weights[key], rel=1e-9, abs=1e-9), key


@pytest.mark.parametrize("name", IN_FLOAT64)
def test_a_run_leaves_nothing_behind_for_the_next(in_float64: dict[str, Trained], name: str) -> None:
    assert bits(in_float64[name].again) == bits(in_float64[name].first)


@pytest.fixture(scope="session")
def more(digits: Arrays) -> dict[str, Pair]:
    return pairs(WITH_MORE, cut(digits, 1100, held_out=200))


def pairs(jobs: dict[str, RunConfig], data: Split) -> dict[str, Pair]:
    engine, reference = (train(list(jobs.values()), data, plain(trainer)) for trainer in ("engine", "reference"))
    return dict(zip(jobs, zip(engine, reference, strict=True), strict=True))


def plain(trainer: str) -> Device:
    return device(precision="float64", trainer=trainer, xla=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_MORE)
def test_curve_figures_and_weights_are_fit_s(more: dict[str, Pair], name: str) -> None:
    """The weights include the moving averages of batch normalisation."""
    engine, reference = more[name]
    assert engine.epochs == reference.epochs == [2, 3]
    assert list(engine.history) == list(reference.history)
    for metric, values in engine.history.items():
        assert values == pytest.approx(reference.history[metric], rel=1e-9, abs=1e-12), metric
    metrics = [{**result.metrics, "time/train_s": 0} for result in more[name]]
    assert metrics[0] == pytest.approx(metrics[1], rel=1e-9, abs=1e-12)
    assert_same_weights(engine, reference)


@pytest.mark.slow
def test_no_unit_is_over_its_limit(more: dict[str, Pair]) -> None:
    weights = more["normalised"][0].weights
    norms = np.linalg.norm(weights["hidden_1/kernel"], axis=0)
    assert norms.max() == pytest.approx(1.2, rel=1e-5)
    assert np.linalg.norm(weights["classes/kernel"], axis=0).max() > 1.2, "there is no limit on the last layer"


@pytest.mark.slow
def test_penalties_and_smoothing_are_in_the_running_loss_alone(more: dict[str, Pair]) -> None:
    """The last running loss is larger than the training loss of the curve by over 0.9 times the penalty."""
    result = more["smoothed"][0]
    kernels = [array for key, array in result.weights.items() if key.endswith("kernel")]
    penalty = 0.001 * sum(np.abs(kernel).sum() for kernel in kernels)
    assert result.history["running/loss"][-1] - result.history["train/loss"][-1] > 0.9 * penalty > 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("trainer", "every"), [("engine", 1), ("engine", 3), ("reference", 1)])
def test_training_ends_when_validation_no_longer_improves(digits: Arrays, trainer: str, every: int) -> None:
    job = make_job("adam", learning_rate=0.05, epochs=40, patience=2, evaluate_every=every, seed=2)
    [result] = train([job], cut(digits, 237), device(xla=False, trainer=trainer))
    losses_seen = result.history["val/loss"]
    assert result.epochs == [every * number for number in range(1, len(losses_seen) + 1)]
    assert result.metrics["time/epochs"] == result.epochs[-1] < 40
    assert int(np.argmin(losses_seen)) == len(losses_seen) - 3


@pytest.mark.slow
def test_training_ends_at_a_training_loss(digits: Arrays) -> None:
    job = make_job("adam", learning_rate=0.05, epochs=40, stop_at_loss=0.5, seed=2)
    [result] = train([job], cut(digits, 237), device(xla=False))
    *before, last = result.history["train/loss"]
    assert last <= 0.5 < min(before)


@pytest.mark.slow
def test_without_xla_even_the_masks_of_dropout_are_fit_s(digits: Arrays) -> None:
    job = make_job("adam", hidden=[12, 7], dropout=0.3, input_dropout=0.1, seed=2)
    [engine], [reference] = (train([job], cut(digits, 237), plain(trainer)) for trainer in ("engine", "reference"))
    assert losses(engine) == pytest.approx(losses(reference), rel=1e-9, abs=0)


# --- the engine on JAX, trained in the subprocess of the fixture `on_jax`


@pytest.fixture(scope="session")
def own(digits: Arrays) -> dict[str, Pair]:
    return pairs(OWN, cut(digits, 237))


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN)
def test_code_of_one_s_own_is_trained_as_fit_does(own: dict[str, Pair], name: str) -> None:
    engine, reference = own[name]
    metrics = {metric: value for metric, value in reference.metrics.items() if metric != "time/train_s"}
    assert {metric: engine.metrics[metric] for metric in metrics} == pytest.approx(metrics, rel=1e-9, abs=1e-12)
    metric = "worst_class" if name == "all of one's own" else "macro_f1"
    assert {f"val/{metric}", f"test/{metric}"} <= metrics.keys()


@pytest.mark.slow
def test_it_trains_on_jax_what_the_engine_on_tensorflow_trains(
    on_jax: dict[str, Any], in_float64: dict[str, Trained], more: dict[str, Pair]
) -> None:
    """The tolerances cover Keras's float32 means on JAX, XLA's own tanh and TensorFlow's float32 momentum of 0.9."""
    for name in ON_JAX:
        assert on_jax[name] == pytest.approx(losses(in_float64[name].first), rel=1e-7, abs=0)
    for name in WITH_MORE:
        assert on_jax["more"][name] == pytest.approx(losses(more[name][0]), rel=1e-6, abs=0)


@pytest.mark.slow
def test_a_run_s_bits_are_its_own_whatever_trains_beside_it(on_jax: dict[str, Any]) -> None:
    """Bits do not depend on the other runs, on storing pixels as bytes or on resuming from a checkpoint."""
    assert on_jax["same bits"] == dict.fromkeys(on_jax["same bits"], True)
    assert len(on_jax["same bits"]) == 5


@pytest.mark.slow
def test_each_run_of_a_stack_ends_in_its_own_time(on_jax: dict[str, Any]) -> None:
    """A run ends by early stopping, divergence or pruning; the others go on."""
    assert len(set(on_jax["patient"])) > 1
    assert min(on_jax["patient"]) < 9
    statuses, reasons, epochs = zip(*on_jax["unlucky"], strict=True)
    assert (statuses, epochs) == (("finished", "diverged", "finished"), (2, 1, 2))
    assert "is nan after epoch 1" in reasons[1]
    assert on_jax["pruned"] == [["finished", [1, 2, 3]], ["pruned", [1, 2]], ["finished", [1, 2, 3]]]


@pytest.mark.slow
def test_a_stack_that_does_not_fit_is_halved_for_good(on_jax: dict[str, Any]) -> None:
    """Runs that had ended keep their results; the others have the bits of the smaller stack."""
    assert on_jax["out of memory"]["sizes"] == [8, 4, 2, 2]
    assert on_jax["out of memory"]["status"] == ["diverged"] + ["finished"] * 4
    assert on_jax["out of memory"]["as with the small stack"]


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN)
def test_code_of_one_s_own_is_trained_the_same_on_jax(on_jax: dict[str, Any], own: dict[str, Pair], name: str) -> None:
    # Keras on JAX computes the means of normalisation in float32.
    assert on_jax["own"][name] == pytest.approx(losses(own[name][0]), rel=1e-5, abs=0)
