"""Networks by the names of `conf/model/`: dense ones, and custom ones built by a function given by its import path."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.cli.errors import UserError
from pipeline.config.run_config import CustomModel, Model
from pipeline.models import custom_code, dense, initial, randomness

NORMALIZATION = {"gamma": 1.0, "beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}
"""Initial values of the variables of batch normalisation (Ioffe and Szegedy 2015)."""


def build(model: Model | CustomModel, shape: tuple[int, ...], classes: int, dtype: str, xla: bool = False) -> Any:
    """Return a `keras.Model` that maps (n, inputs) to probabilities (n, classes); `set_initial` sets its weights.

    `shape` is the shape of one sample, (rows, columns) of an image. The function of a `CustomModel` is called with a Keras
    tensor (n, inputs) of flattened samples, with `shape` and with the model's arguments as keywords. It returns the Keras
    tensor (n, features) that the softmax layer takes. `dtype` is a Keras dtype policy (`float32`, `float64`,
    `mixed_bfloat16`). Set `xla` if TensorFlow compiles it with XLA. Raises UserError.
    """
    inputs = int(np.prod(shape))
    if isinstance(model, Model):
        return dense.build(model, inputs, classes, dtype, xla)
    network = _custom(model, inputs, shape, classes, dtype)
    return _with_compiled_dropout(network) if xla else network


def _custom(model: CustomModel, inputs: int, shape: tuple[int, ...], classes: int, dtype: str) -> Any:
    import keras

    function = custom_code.load(model.build, "model.build")
    arguments = {name: list(value) if isinstance(value, tuple) else value for name, value in model.arguments}
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        pixels = keras.Input((inputs,), name="pixels")
        features = function(pixels, shape, **arguments)
        # Under mixed precision the softmax and the loss stay in float32, as Keras recommends.
        last = "float32" if dtype.startswith("mixed") else dtype
        outputs = keras.layers.Dense(classes, "softmax", dtype=last, name="classes")(features)
        return keras.Model(pixels, outputs, name=model.name)
    except Exception as error:
        raise UserError(f"model={model.name}: {model.build}: {type(error).__name__}: {error}") from error
    finally:
        keras.config.set_dtype_policy(policy)


def _with_compiled_dropout(network: Any) -> Any:
    """Return the network with each `Dropout` layer replaced by the much faster `dense.compiled_dropout`.

    A layer with a `noise_shape` stays, since `dense.compiled_dropout` has none.
    """
    import keras

    def drops(layer: Any) -> bool:
        return type(layer) is keras.layers.Dropout and layer.noise_shape is None

    def copy(layer: Any) -> Any:
        kind: Any = dense.compiled_dropout() if drops(layer) else type(layer)
        return kind.from_config(layer.get_config())

    return keras.models.clone_model(network, clone_function=copy) if any(map(drops, network.layers)) else network


def set_initial(network: Any, model: Model | CustomModel, seed: int) -> None:
    """Set the initial weights and dropout states of `network` for `seed`. Raises UserError."""
    if isinstance(model, Model):
        sizes = [network.input_shape[-1], *model.hidden, network.output_shape[-1]]
        drawn = iter(initial.weights(model.kernel_initializer, seed, sizes, model.kernel_stddev))
        for variable in network.weights:
            start = NORMALIZATION.get(variable.path.rpartition("/")[2])
            value = next(drawn) if start is None else np.full(variable.shape, start)
            variable.assign(value.astype(variable.dtype))
    else:
        _draw_each(network, model, seed)
    for number, layer in enumerate(layer for layer in network.layers if hasattr(layer, "seed_generator")):
        state = layer.seed_generator.state
        state_values = randomness.random_integers(seed, "dropout", number, 2) >> np.uint64(33)
        state.assign(state_values.astype(state.dtype))


def mixes_samples(model: Model | CustomModel) -> bool:
    """Return whether the output for a sample may depend on its batch in training, as with batch normalisation."""
    return not isinstance(model, Model) or model.batch_normalization


def _draw_each(network: Any, model: CustomModel, seed: int) -> None:
    """Draw each weight with its layer's initializer; random weights are numbered from the input to the output."""
    number = 0
    known: set[int] = set()
    for layer in network.layers:
        for variable in layer.weights:
            initializer = _initializer(layer, variable.name)
            try:
                value, random = initial.of_keras(initializer, seed, number, tuple(variable.shape))
            except ValueError as error:
                raise UserError(f"model={model.name}: {variable.path}: {error}") from None
            variable.assign(value.astype(variable.dtype))
            known.add(id(variable))
            number += random
    if others := [variable.path for variable in network.weights if id(variable) not in known]:
        raise UserError(f"model={model.name}: {others[0]}: belongs to no layer of the network itself")


def _initializer(layer: Any, name: str) -> Any:
    """Return the initializer of a layer's weight: Keras stores that of `kernel` as `kernel_initializer`, and so on."""
    for attribute in (f"{name}_initializer", "depthwise_initializer"):
        if hasattr(layer, attribute):
            return getattr(layer, attribute)
    return None


def parameters(model: Model | CustomModel, inputs: int, classes: int) -> int:
    """Return the number of weights, moving averages included; 0 for a custom model, which must be built first."""
    return dense.parameters(model, inputs, classes) if isinstance(model, Model) else 0


def weights(network: Any) -> dict[str, np.ndarray]:
    """Return weights by path (`hidden_1/kernel`, `classes/bias`) as numpy arrays, moving averages included."""
    return {name(variable): np.asarray(variable.numpy()) for variable in network.weights}


def name(variable: Any) -> str:
    """Return the last two parts of a variable's path, such as `hidden_1/kernel`."""
    return "/".join(variable.path.split("/")[-2:])


def set_weights(network: Any, arrays: dict[str, np.ndarray]) -> None:
    """Set the weights of `network` to `arrays`, as `weights` returns them."""
    for variable in network.weights:
        variable.assign(arrays[name(variable)])
