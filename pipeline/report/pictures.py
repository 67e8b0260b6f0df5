"""Pictures made of pixels: the hardest digits and what the units of the first layer look for."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import matplotlib.image
import numpy as np

from pipeline.data.arrays import Arrays
from pipeline.report.style import BLUE, INK, VERMILLION
from pipeline.training.result import RunResult

INK_RGB, POSITIVE_RGB, NEGATIVE_RGB = (tuple(bytes.fromhex(colour[1:])) for colour in (INK, VERMILLION, BLUE))


@dataclass(frozen=True)
class Hard:
    """A test image that the network finds hard."""

    number: int
    """Its place in the test split, from 0."""
    image: np.ndarray
    actual: int
    predicted: int
    certainty: float
    """What the network gives the class that it says."""
    belief: float
    """What the network gives the class that the image is labelled with."""

    @property
    def alternative(self) -> str:
        verb = "taken for" if self.predicted != self.actual else "recognised as"
        certainty = f"{100 * self.certainty:.0f} % certainty"
        return f"A {self.actual} {verb} {self.predicted} with {certainty} (test image {self.number})"


def hardest(result: RunResult, arrays: Arrays, count: int = 24) -> list[Hard]:
    """The test images to whose label the network gives the least, least first."""
    if result.probabilities is None:
        return []
    labels = np.asarray(arrays.test_labels)
    belief = result.probabilities[np.arange(len(labels)), labels]
    return [
        Hard(
            number=int(i),
            image=np.asarray(arrays.test_images[i]).reshape(arrays.image_shape),
            actual=int(labels[i]),
            predicted=int(result.probabilities[i].argmax()),
            certainty=float(result.probabilities[i].max()),
            belief=float(belief[i]),
        )
        for i in np.argsort(belief, kind="stable")[:count]
    ]


@dataclass(frozen=True)
class FirstLayer:
    """The weights of some units of the first layer."""

    picture: np.ndarray
    """RGBA, see `weight_atlas`."""
    shown: int
    units: int


def first_layer(result: RunResult, arrays: Arrays, count: int = 32) -> FirstLayer | None:
    """Those units that have the largest weights to the next layer, largest first; None where weights were not kept."""
    kernels = [array for array in (result.weights or {}).values() if array.ndim == 2]
    pixels = arrays.image_shape[0] * arrays.image_shape[1]
    if len(kernels) < 2 or kernels[0].shape[0] != pixels:
        return None
    first, after = kernels[:2]
    chosen = np.argsort(-np.linalg.norm(after, axis=1), kind="stable")[:count]
    return FirstLayer(weight_atlas(first.T[chosen].reshape(-1, *arrays.image_shape)), len(chosen), first.shape[1])


def weight_atlas(images: np.ndarray, columns: int = 8, gap: int = 2) -> np.ndarray:
    """One RGBA picture: vermillion where ink excites the unit, blue where it silences it, opaque where strongly.

    Each unit has its own scale. What is transparent shows the page behind, light or dark.
    """
    count, height, width = images.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    atlas = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, 4), dtype=np.uint8)
    for place, image in enumerate(images):
        top, left = place // columns * (height + gap), place % columns * (width + gap)
        strength = np.abs(image) / (np.abs(image).max() or 1)
        tile = atlas[top : top + height, left : left + width]
        tile[..., :3] = np.where(image[..., None] > 0, POSITIVE_RGB, NEGATIVE_RGB)
        tile[..., 3] = np.round(255 * strength)
    return atlas


def ink(image: np.ndarray) -> np.ndarray:
    """A digit as RGBA: ink, opaque where the pen was."""
    shades = np.empty((*image.shape, 4), dtype=np.uint8)
    shades[..., :3] = INK_RGB
    shades[..., 3] = np.round(255 * np.clip(image, 0, 1))
    return shades


def enlarged(rgba: np.ndarray, side: int = 900) -> bytes:
    """A small picture as PNG, on white and about `side` pixels high."""
    alpha = rgba[..., 3:].astype(float) / 255
    opaque = np.round(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    times = max(1, round(side / len(rgba)))
    return png(opaque.repeat(times, axis=0).repeat(times, axis=1))


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, image, format="png", metadata={"Software": ""})
    return buffer.getvalue()


def data_uri(image: np.ndarray) -> str:
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()
