"""The stations of the tour, in order: what each one shows, and how far its figures may differ on another machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.tour import descent, gap, learning, sieve, tensors
from pipeline.tour.material import Material

EXACT, BY_HAND, TRAINED, ONE_IMAGE = 0, 2, 20, 100
"""Tolerances, in units of the last place that is printed. Between processors with AVX-512, AVX2 and SSE 4.1, with XLA and
without, what is by hand came out the same, figures of trained networks within 5, and those of one hard image within 60."""


@dataclass(frozen=True)
class Station:
    show: Callable[[Material], str]
    question: str
    tolerance: int


STATIONS = {
    "tensors": Station(tensors.tensors, "what lies between the file and the loss, by rank and shape", EXACT),
    "classes": Station(tensors.classes, "what classes, samples and labels are", EXACT),
    "sieve": Station(sieve.sieve, "what the layers do to the samples", TRAINED),
    "units": Station(sieve.units, "why the last layer has as many units as there are classes", ONE_IMAGE),
    "loss": Station(learning.loss, "softmax, and which loss for which task", ONE_IMAGE),
    "gradients": Station(learning.gradients, "the forward and the backward pass of one batch, by hand", BY_HAND),
    "descent": Station(descent.descent, "gradient descent and its variants, by hand", BY_HAND),
    "batches": Station(descent.sizes, "batches and epochs", BY_HAND),
    "depth": Station(gap.depth, "shallow against deep", TRAINED),
    "gap": Station(gap.gap, "how the gap opens", TRAINED),
}


def show(name: str, here: Material) -> str:
    """What the station says. Small products: on one thread they are done before another one is awake."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return STATIONS[name].show(here)
