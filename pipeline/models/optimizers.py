"""Keras's optimizers by the names of `conf/optimizer/`, whose files say the class; their mathematics is Keras's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.cli.errors import UserError
from pipeline.config import rules
from pipeline.config import run_config as j


def build(optimizer: j.Optimizer, clip_norm: float | None = None) -> Any:
    """A fresh `keras.optimizers.Optimizer` with exactly these hyper-parameters. Raises UserError for an unknown class.

    `clip_norm` is the most that the norm of all gradients together may be.
    """
    import keras

    name = optimizer.keras_class or rules.keras_class(optimizer.name)
    kind = getattr(keras.optimizers, name, None)
    if not (isinstance(kind, type) and issubclass(kind, keras.optimizers.Optimizer)):
        raise UserError(f"optimizer={optimizer.name}: class={name}: expected a class of keras.optimizers")
    return kind(**dict(optimizer.hyperparameters), global_clipnorm=clip_norm)


class Start:
    """Where the variables of an optimizer begin, learnt from Keras's own: building a fresh one for every run costs 10 ms.

    Two are built, over different weights and with different learning rates. What is the same in both is a constant; what
    is each one's learning rate or weights (schedule-free starts from them) is that again in every run.
    """

    def __init__(self, optimizer: j.Optimizer, weights: Sequence[Any]) -> None:
        """`weights` are a built network's trainable variables; they are overwritten."""
        rates = (0.25, 0.5)
        built = [self._probe(optimizer, weights, number, rate) for number, rate in enumerate(rates)]
        first, second = ([np.asarray(value) for value in one[0]] for one in built)
        self._sources: list[np.ndarray | int | None] = []
        """An array is a constant, a number the weights of this place, None the learning rate."""
        for one, other in zip(first, second, strict=True):
            if np.array_equal(one, other):
                self._sources.append(one)
            elif one.ndim == 0 and (one, other) == tuple(one.dtype.type(rate) for rate in rates):
                self._sources.append(None)
            else:
                pairs = zip(built[0][1], built[1][1], strict=True)
                places = [n for n, (a, b) in enumerate(pairs) if np.array_equal(one, a) and np.array_equal(other, b)]
                if not places:
                    raise AssertionError(f"{optimizer.name}: a variable begins in a way of its own")
                self._sources.append(places[0])

    @staticmethod
    def _probe(optimizer: j.Optimizer, weights: Sequence[Any], number: int, rate: float) -> tuple[list[Any], list[Any]]:
        rng = np.random.default_rng(number)
        for variable in weights:
            variable.assign(rng.random(variable.shape).astype(variable.dtype))
        plain = {**dict(optimizer.hyperparameters), "learning_rate": rate}
        fresh = build(replace(optimizer, hyperparameters=tuple(sorted(plain.items()))))
        fresh.build(weights)
        return [_array(v) for v in fresh.variables], [_array(v) for v in weights]

    def values(self, optimizer: j.Optimizer, weights: Sequence[Any]) -> list[np.ndarray]:
        """The state that begins a run with these hyper-parameters from these weights, in the order of its `variables`."""
        return [
            source
            if isinstance(source, np.ndarray)
            else np.asarray(optimizer["learning_rate"])
            if source is None
            else _array(weights[source])
            for source in self._sources
        ]


def _array(variable: Any) -> np.ndarray:
    return np.array(variable.value)
