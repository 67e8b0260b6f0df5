"""Dense networks in Keras: flattened pixels in, a softmax over the classes out."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.config import run_config as j
from pipeline.models import initial, randomness


def build(model: j.Model, inputs: int, classes: int, dtype: str, xla: bool = False) -> Any:
    """A `keras.Model` (n, inputs) -> (n, classes) of probabilities; its weights mean nothing until `set_initial`.

    `dtype` is a Keras dtype policy (`float32`, `float64`, `mixed_bfloat16`). `xla`: for a program that TensorFlow compiles.
    """
    import keras
    from keras import layers

    dropout = _compiled_dropout() if xla else layers.Dropout
    penalty = keras.regularizers.L1L2(model.l1, model.l2) if model.l1 or model.l2 else None
    stack = [keras.Input((inputs,), name="pixels")]
    if model.input_dropout:
        stack.append(dropout(model.input_dropout, seed=0, dtype=dtype, name="dropout_0"))
    for number, width in enumerate(model.hidden, start=1):
        # Weights are assigned before every run: "zeros" spares the draw that nobody uses.
        kernel = {
            "kernel_initializer": "zeros",
            "kernel_regularizer": penalty,
            "kernel_constraint": keras.constraints.MaxNorm(model.max_norm) if model.max_norm else None,
        }
        own = None if model.batch_normalization else model.activation
        stack.append(layers.Dense(width, own, **kernel, dtype=dtype, name=f"hidden_{number}"))
        if model.batch_normalization:
            stack.append(layers.BatchNormalization(dtype=dtype, name=f"normalization_{number}"))
            stack.append(layers.Activation(model.activation, dtype=dtype, name=f"activation_{number}"))
        if model.dropout:
            stack.append(dropout(model.dropout, seed=number, dtype=dtype, name=f"dropout_{number}"))
    # Under mixed precision the softmax and the loss stay in float32, as Keras advises.
    last = "float32" if dtype.startswith("mixed") else dtype
    kernel = {"kernel_initializer": "zeros", "kernel_regularizer": penalty}
    stack.append(layers.Dense(classes, "softmax", **kernel, dtype=last, name="classes"))
    return keras.Sequential(stack, name="dense")


_NORMALIZATION = {"gamma": 1.0, "beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}
"""Where the variables of batch normalisation begin, by the last part of their paths (Ioffe and Szegedy 2015)."""


@cache
def _compiled_dropout() -> type:
    """Keras's Dropout with the generator named: the one that XLA picks for a CPU takes 20 ms a mask of 128 x 512, this 0.1."""
    import keras
    import tensorflow as tf

    class Dropout(keras.layers.Dropout):
        def call(self, inputs: Any, training: bool = False) -> Any:
            if not training:
                return inputs
            seed = tf.cast(self.seed_generator.next(), tf.int32)
            return tf.nn.experimental.stateless_dropout(inputs, rate=self.rate, seed=seed, rng_alg="threefry")

    return Dropout


def set_initial(network: Any, model: j.Model, seed: int) -> None:
    """Give `network` the initial weights and dropout states that belong to `seed`."""
    sizes = [network.input_shape[-1], *model.hidden, network.output_shape[-1]]
    drawn_weights = iter(initial.weights(model.kernel_initializer, seed, sizes, model.kernel_stddev))
    for variable in network.weights:
        start = _NORMALIZATION.get(variable.path.rpartition("/")[2])
        value = next(drawn_weights) if start is None else np.full(variable.shape, start)
        variable.assign(value.astype(variable.dtype))
    for number, layer in enumerate(layer for layer in network.layers if hasattr(layer, "seed_generator")):
        state = layer.seed_generator.state
        drawn = randomness.words(seed, "dropout", number, 2) >> np.uint64(33)
        state.assign(drawn.astype(state.dtype))


def weights(network: Any) -> dict[str, np.ndarray]:
    """Weights by path (`hidden_1/kernel`, `classes/bias`) as numpy arrays, the averages of normalisation included."""
    return {name(variable): np.asarray(variable.numpy()) for variable in network.weights}


def name(variable: Any) -> str:
    """`hidden_1/kernel`."""
    return "/".join(variable.path.split("/")[-2:])


def parameters(model: j.Model, inputs: int, classes: int) -> int:
    """Number of weights, the averages of normalisation included."""
    sizes = [inputs, *model.hidden, classes]
    return sum((a + 1) * b for a, b in pairwise(sizes)) + 4 * model.batch_normalization * sum(model.hidden)


def set_weights(network: Any, arrays: dict[str, np.ndarray]) -> None:
    """Give `network` the weights that `weights` once returned."""
    for variable in network.weights:
        variable.assign(arrays[name(variable)])
