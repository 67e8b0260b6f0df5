"""A small convolutional network after LeCun et al. 1998: convolution and pooling layers, then one dense layer."""

from __future__ import annotations

from typing import Any


def build(
    pixels: Any,
    shape: tuple[int, ...],
    *,
    filters: list[int],
    kernel_size: int,
    dense: int,
    activation: str,
    dropout: float,
) -> Any:
    """See `networks.build`. Each entry of `filters` adds a convolution with that many filters and a 2 x 2 max pooling."""
    from keras import layers

    outputs = layers.Reshape((*shape, 1), name="image")(pixels)
    for number, count in enumerate(filters, start=1):
        convolution = layers.Conv2D(
            count, kernel_size, padding="same", activation=activation, name=f"convolution_{number}"
        )
        outputs = layers.MaxPooling2D(name=f"pooling_{number}")(convolution(outputs))
    outputs = layers.Flatten(name="flat")(outputs)
    if dense:
        outputs = layers.Dense(dense, activation, name="dense")(outputs)
    return layers.Dropout(dropout, name="dropout")(outputs) if dropout else outputs
