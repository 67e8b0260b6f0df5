"""Code that a user adds in a file of their own: a network, an optimizer, a loss, a schedule and a metric."""

from typing import Any

import keras
import numpy as np


def bottleneck(pixels: Any, shape: tuple[int, ...], *, width: int, narrow: list[int]) -> Any:
    outputs = keras.layers.Dense(width, "relu", kernel_initializer="he_uniform", name="wide")(pixels)
    for number, units in enumerate(narrow):
        outputs = keras.layers.Dense(units, "tanh", bias_initializer="ones", name=f"narrow_{number}")(outputs)
    return outputs


def two_dropouts(pixels: Any, shape: tuple[int, ...]) -> Any:
    """One mask for all pixels of a sample, then one for each pixel."""
    return keras.layers.Dropout(0.5)(keras.layers.Dropout(0.5, noise_shape=(None, 1))(pixels))


class SignSGD(keras.optimizers.Optimizer):
    """Each weight moves by the learning rate, against the sign of its gradient (Bernstein et al. 2018)."""

    def __init__(self, learning_rate: float = 0.001, shrink: float = 0.0, **others: Any) -> None:
        super().__init__(learning_rate=learning_rate, **others)
        self.shrink = shrink

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate = keras.ops.cast(learning_rate, variable.dtype)
        step = keras.ops.sign(gradient) + self.shrink * variable
        self.assign_sub(variable, keras.ops.multiply(rate, step))


def half_squared_error(labels: Any, outputs: Any) -> Any:
    return 0.5 * keras.ops.sum(keras.ops.square(labels - outputs), axis=-1)


def triangle(step: np.ndarray, steps: int, epochs: int) -> np.ndarray:
    """Factor of the learning rate: rises from 0 to 2 at the middle of training, then falls to 0 (Smith 2017)."""
    return 2 - np.abs(2 - 4 * step / (steps * epochs))


def worst_class(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The lowest accuracy of any class."""
    right = probabilities.argmax(axis=1) == labels
    return float(min(right[labels == label].mean() for label in np.unique(labels)))
