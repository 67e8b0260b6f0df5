"""The dense network and the optimizer that are built in Keras for a job."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.cli.errors import UserError
from pipeline.config import rules
from pipeline.config.run_config import Optimizer
from pipeline.models import dense, optimizers
from tests.support.factory import make_job

pytestmark = pytest.mark.usefixtures("keras")


def test_the_book_s_network() -> None:
    """Listing 2.1 of the book: layers of 784, 512 and 10 units, 407,050 weights."""
    model = make_job(width=512).model
    built = dense.build(model, inputs=784, classes=10, dtype="float32")
    assert built.count_params() == dense.parameters(model, 784, 10) == 407_050
    assert [layer.activation.__name__ for layer in built.layers] == ["relu", "softmax"]


@pytest.mark.parametrize("name", rules.options("optimizer"))
def test_an_optimizer_has_the_job_s_hyperparameters(name: str) -> None:
    built = optimizers.build(make_job(name, learning_rate=0.25).optimizer)
    assert type(built).__name__ == rules.keras_class(name)
    assert float(np.asarray(built.learning_rate)) == 0.25
    for key, value in make_job(name).optimizer.hyperparameters:
        if key != "learning_rate":
            assert getattr(built, key) == value


def test_an_optimizer_of_one_s_own_is_named_by_its_import_path() -> None:
    own = Optimizer("sign", (("learning_rate", 0.25), ("shrink", 0.5)), "tests.support.custom_code.SignSGD")
    built = optimizers.build(own)
    assert type(built).__name__ == "SignSGD"
    assert built.shrink == 0.5


def test_a_hyperparameter_that_its_class_has_not_is_refused() -> None:
    own = Optimizer("sign", (("learning_rate", 0.25), ("decay_rate", 0.5)), "tests.support.custom_code.SignSGD")
    with pytest.raises(UserError, match=r"^optimizer=sign: tests\.support\.custom_code\.SignSGD: .*decay_rate"):
        optimizers.build(own)


def test_the_norm_of_all_gradients_is_limited_together() -> None:
    assert optimizers.build(make_job().optimizer, clip_norm=0.5).global_clipnorm == 0.5
    assert optimizers.build(make_job().optimizer).global_clipnorm is None


@pytest.mark.parametrize("name", ["Adm", "Optimizer2", "schedules"])
def test_a_class_that_keras_has_not_is_refused(name: str) -> None:
    with pytest.raises(
        UserError, match=rf"^optimizer=sgd: class={name}: expected a class of keras\.optimizers, or a subclass$"
    ):
        optimizers.build(replace(make_job("sgd").optimizer, keras_class=name))


def test_kernels_of_all_layers_are_penalised_and_biases_are_not() -> None:
    built = dense.build(make_job(hidden=[7, 5], l1=0.5, l2=0.25).model, inputs=64, classes=10, dtype="float32")
    for variable in built.trainable_variables:
        variable.assign(np.full(variable.shape, 2.0))
    kernels = 64 * 7 + 7 * 5 + 5 * built.output_shape[-1]
    assert sum(float(np.asarray(loss)) for loss in built.losses) == pytest.approx(kernels * (0.5 * 2 + 0.25 * 4))
