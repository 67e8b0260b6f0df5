"""Logistic regression for several classes: no hidden layer, the least that a network should beat."""

from __future__ import annotations

from typing import Any


def build(pixels: Any, shape: tuple[int, ...]) -> Any:
    """See `networks.build`."""
    return pixels
