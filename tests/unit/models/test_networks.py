"""Networks: their initial weights, and networks that a file of `conf/model/` names by import path."""

from typing import Any

import numpy as np
import pytest

from pipeline.cli.errors import UserError
from pipeline.config.run_config import CustomModel
from pipeline.models import initial, networks
from tests.support.factory import make_job
from tests.unit.training.trainer import OWN

pytestmark = pytest.mark.usefixtures("keras")
SHAPE = (8, 8)


def custom(build: str, **arguments: Any) -> CustomModel:
    return CustomModel(build.split(".")[-2], build, tuple(sorted(arguments.items())))


NETWORKS = [custom("pipeline.models.logistic.build"), *(job.model for job in OWN.values())]
BOTTLENECK = OWN["all of one's own"].model


@pytest.mark.parametrize("model", NETWORKS, ids=lambda model: model.name)
@pytest.mark.parametrize("xla", [False, True])
def test_a_network_named_by_its_import_path_gives_probabilities(model: CustomModel, xla: bool) -> None:
    built = networks.build(model, SHAPE, 10, "float64", xla)
    networks.set_initial(built, model, seed=1)
    outputs = np.asarray(built(np.random.default_rng(0).random((5, 64))))
    assert outputs.dtype == np.float64
    assert outputs.sum(axis=1) == pytest.approx(np.ones(5))


def test_its_weights_start_by_the_initializers_that_its_layers_name() -> None:
    built = networks.build(BOTTLENECK, SHAPE, 10, "float64")
    networks.set_initial(built, BOTTLENECK, seed=7)
    found = networks.weights(built)
    assert np.array_equal(found["wide/kernel"], initial.kernel("he_uniform", 7, 0, (64, 16)))
    assert np.array_equal(found["narrow_0/kernel"], initial.kernel("glorot_uniform", 7, 1, (16, 4)))
    assert np.array_equal(found["narrow_1/bias"], np.ones(5))


def test_only_a_dropout_of_each_unit_for_itself_is_compiled(keras: Any) -> None:
    built = networks.build(custom("tests.support.custom_code.two_dropouts"), SHAPE, 10, "float32", xla=True)
    drops = [layer for layer in built.layers if isinstance(layer, keras.layers.Dropout)]
    assert [type(layer) is keras.layers.Dropout for layer in drops] == [True, False]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        ("no_such_module.build", "model.build=no_such_module.build: no module no_such_module in "),
        ("tests.support.custom_code.bottle", "tests.support.custom_code has no bottle"),
        (
            "tests.support.custom_code.bottleneck",
            "model=custom_code: tests.support.custom_code.bottleneck: TypeError: ",
        ),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(build: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        networks.build(custom(build, width=3), SHAPE, 10, "float32")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def network(**changes: Any) -> Any:
    return networks.build(make_job(**changes).model, SHAPE, 10, "float32")


def test_weights_have_names() -> None:
    assert list(networks.weights(network(hidden=[7, 5], dropout=0.5))) == [
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
    networks.set_initial(built, model, seed=3)
    expected = initial.weights(kernel_initializer, 3, [64, 8, 10])
    found = networks.weights(built).values()
    assert all(np.array_equal(a, b.astype(np.float32)) for a, b in zip(found, expected, strict=True))


def test_weights_go_in_as_they_came_out() -> None:
    first, second = network(hidden=[7, 5]), network(hidden=[7, 5])
    networks.set_initial(first, make_job(hidden=[7, 5]).model, seed=1)
    networks.set_weights(second, networks.weights(first))
    assert all(np.array_equal(networks.weights(second)[name], array) for name, array in networks.weights(first).items())


def test_dropout_masks_are_for_good() -> None:
    """The masks of each seed start from a state of their own: never change it."""
    built = network(dropout=0.5)

    def state(seed: int) -> list[int]:
        networks.set_initial(built, make_job(dropout=0.5).model, seed)
        [found] = [layer.seed_generator.state for layer in built.layers if hasattr(layer, "seed_generator")]
        return np.asarray(found).tolist()

    assert state(seed=7) == [34067055, 469422029]
    assert state(seed=8) != state(seed=7)
