"""Dense networks in Keras, from flattened pixels to a softmax over the classes."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

from pipeline.config import run_config as j


def build(model: j.Model, inputs: int, classes: int, dtype: str, xla: bool = False) -> Any:
    """Return a `keras.Model` that maps (n, inputs) to probabilities (n, classes); `networks.set_initial` sets its weights.

    `dtype` is a Keras dtype policy (`float32`, `float64`, `mixed_bfloat16`). Set `xla` if TensorFlow compiles it with XLA.
    """
    import keras
    from keras import layers

    dropout = compiled_dropout() if xla else layers.Dropout
    penalty = keras.regularizers.L1L2(model.l1, model.l2) if model.l1 or model.l2 else None
    stack = [keras.Input((inputs,), name="pixels")]
    if model.input_dropout:
        stack.append(dropout(model.input_dropout, seed=0, dtype=dtype, name="dropout_0"))
    for number, width in enumerate(model.hidden, start=1):
        # "zeros" saves a random draw: `set_initial` assigns the weights before every run.
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
    # Under mixed precision the softmax and the loss stay in float32, as Keras recommends.
    last = "float32" if dtype.startswith("mixed") else dtype
    kernel = {"kernel_initializer": "zeros", "kernel_regularizer": penalty}
    stack.append(layers.Dense(classes, "softmax", **kernel, dtype=last, name="classes"))
    return keras.Sequential(stack, name="dense")


@cache
def compiled_dropout() -> type:
    """Return Keras's Dropout with Threefry: a 128 x 512 mask takes 0.1 ms, and 20 ms with XLA's default on a CPU."""
    import keras
    import tensorflow as tf

    class Dropout(keras.layers.Dropout):
        def call(self, inputs: Any, training: bool = False) -> Any:
            if not training:
                return inputs
            seed = tf.cast(self.seed_generator.next(), tf.int32)
            return tf.nn.experimental.stateless_dropout(inputs, rate=self.rate, seed=seed, rng_alg="threefry")

    return Dropout


def parameters(model: j.Model, inputs: int, classes: int) -> int:
    """Return the number of weights, moving averages of batch normalisation included."""
    sizes = [inputs, *model.hidden, classes]
    return sum((a + 1) * b for a, b in pairwise(sizes)) + 4 * model.batch_normalization * sum(model.hidden)
