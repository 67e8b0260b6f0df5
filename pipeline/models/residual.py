"""A residual network of dense layers (He et al. 2016), with the pre-activation and normalisation of their second paper."""

from __future__ import annotations

from typing import Any


def build(pixels: Any, shape: tuple[int, ...], *, width: int, blocks: int, activation: str, dropout: float) -> Any:
    """See `networks.build`. Each of `blocks` blocks adds the output of two dense layers of `width` units to its input."""
    from keras import layers

    outputs = layers.Dense(width, name="stem")(pixels)
    for number in range(1, blocks + 1):
        inner = outputs
        for layer in (1, 2):
            inner = layers.BatchNormalization(name=f"normalization_{number}_{layer}")(inner)
            inner = layers.Activation(activation, name=f"activation_{number}_{layer}")(inner)
            if dropout:
                inner = layers.Dropout(dropout, name=f"dropout_{number}_{layer}")(inner)
            inner = layers.Dense(width, kernel_initializer="he_normal", name=f"dense_{number}_{layer}")(inner)
        outputs = layers.Add(name=f"sum_{number}")([outputs, inner])
    return layers.Activation(activation, name="last_activation")(outputs)
