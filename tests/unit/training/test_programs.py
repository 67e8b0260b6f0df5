"""Programs of the engine: which runs share one, how often one compiles, and that its threads end."""

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.config.run_config import RunConfig
from pipeline.data.arrays import Arrays
from pipeline.models import randomness
from pipeline.training import engine, trainer
from pipeline.training.shapes import learning_rates, pads_last_batch, shape_of
from pipeline.training.splits import Split
from tests.support.factory import make_job
from tests.unit.training.trainer import OPTIMIZERS, cut, device, train

PLAIN = device(xla=False)
"""Without XLA, since no test here depends on it and building a program then takes a fifth of the time."""


@pytest.fixture
def data(digits: Arrays) -> Split:
    return cut(digits, 237)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"learning_rate": 0.5},
        {"weight_decay": 0.5},
        {"epochs": 7},
        {"kernel_initializer": "he_normal"},
        {"kernel_initializer": "truncated_normal", "kernel_stddev": 0.1},
        {"schedule": "cosine", "warmup_epochs": 1, "epochs": 7},
        {"schedule": "piecewise", "boundaries": [1], "factors": [0.1]},
        {"evaluate_every": 3, "stop_at_loss": 0.1, "patience": 2},
    ],
    ids=str,
)
def test_what_is_a_variable_of_a_program_shares_it(changes: dict[str, Any]) -> None:
    assert shape_of(make_job("adamw", **changes)) == shape_of(make_job("adamw"))


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "adam"},
        {"weight_decay": None},
        {"amsgrad": True},
        {"width": 9},
        {"activation": "tanh"},
        {"loss": "mean_squared_error"},
        {"label_smoothing": 0.1},
        {"clip_norm": 1.0},
        {"l2": 0.1},
    ],
    ids=str,
)
def test_what_is_compiled_in_does_not(changes: dict[str, Any]) -> None:
    assert shape_of(make_job(**({"optimizer": "adamw"} | changes))) != shape_of(make_job("adamw"))


def test_a_custom_optimizer_keeps_its_weight_decay() -> None:
    """It may use the value itself, so a program with another one would train with a wrong decay."""
    job = make_job("adamw", weight_decay=0.25)
    own = replace(job, optimizer=replace(job.optimizer, keras_class="my_optimizers.Own"))
    assert [shape_of(each).optimizer["weight_decay"] for each in (job, own)] == [1.0, 0.25]


def test_learning_rates_and_seeds_compile_once_per_worker(data: Split) -> None:
    jobs = [make_job(learning_rate=rate / 100, seed=seed) for rate in range(1, 6) for seed in range(4)]
    before = engine.Program.compiled
    results = train(jobs, data, PLAIN)
    assert engine.Program.compiled - before <= PLAIN.workers
    assert len({result.digests["final_weights"] for result in results}) == 20


def test_the_last_batch_is_not_filled_up_where_samples_may_change_what_others_get() -> None:
    plain = make_job(batch_size=100)
    own_loss = replace(plain, training=replace(plain.training, loss="my_loss.of_a_batch"))
    normalised = make_job(batch_size=100, batch_normalization=True)
    assert [pads_last_batch(job, 250) for job in (plain, own_loss, normalised)] == [True, False, False]
    assert not pads_last_batch(plain, 200)


def test_a_network_is_measured_by_one_program_whatever_trains_it(data: Split) -> None:
    networks: dict[Any, engine.Network] = {}
    samples = engine.Samples(data, 10)
    for job in (make_job("sgd"), make_job("adam"), make_job("sgd", label_smoothing=0.1, clip_norm=1.0, batch_size=20)):
        engine.Program(shape_of(job), samples, 10, PLAIN, networks)
    assert len(networks) == 1


@pytest.mark.parametrize("how", ["left", "stopped"])
def test_leaving_early_ends_the_workers(data: Split, how: str) -> None:
    stop = threading.Event()
    events = engine.train(list(enumerate([make_job(epochs=10_000)] * 2)), data, 10, PLAIN, stop=stop)
    assert isinstance(next(events), trainer.Epoch)
    if how == "left":
        events.close()
    else:
        stop.set()
    assert not any(isinstance(event, trainer.Done) for event in events)
    assert not any(thread.name.startswith("engine-") for thread in threading.enumerate())


@pytest.mark.parametrize("batch_size", [237, 100])
def test_every_step_has_its_own_mask(data: Split, batch_size: int) -> None:
    """The generator of each dropout layer counts one draw per step; the partial last batch is a step."""
    job = make_job(dropout=0.5, hidden=[8, 8], batch_size=batch_size)
    program = engine.Program(shape_of(job), engine.Samples(data, 10), 10, PLAIN)
    program.reset(job)
    before = states(program)
    program.epoch(randomness.order(0, 0, 237), learning_rates(job, 0, program.steps))
    assert [after - start for after, start in zip(states(program), before, strict=True)] == [-(-237 // batch_size)] * 2


def states(program: engine.Program) -> list[int]:
    layers = [layer for layer in program.model.layers if hasattr(layer, "seed_generator")]
    return [int(np.asarray(layer.seed_generator.state)[1]) for layer in layers]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_starts_as_a_new_one_of_keras(keras: Any, name: str) -> None:
    """Compare every variable, for weights and a learning rate that `InitialState` was not built with."""
    from pipeline.models import networks, optimizers

    job: RunConfig = make_job(name, learning_rate=0.0125, seed=5, **({"weight_decay": 0.01} if name != "sgd" else {}))
    network = networks.build(job.model, (64,), 10, "float32")
    start = optimizers.InitialState(shape_of(job).optimizer, network.trainable_variables)
    networks.set_initial(network, job.model, job.seed)
    fresh = optimizers.build(job.optimizer)
    fresh.build(network.trainable_variables)
    values = start.values(job.optimizer, network.trainable_variables)
    for value, variable in zip(values, fresh.variables, strict=True):
        np.testing.assert_array_equal(value.astype(variable.dtype), np.array(variable), err_msg=variable.path)
    held = [value for value in vars(fresh).values() if isinstance(value, keras.Variable)]
    assert all(any(value is known for known in fresh.variables) for value in held)
