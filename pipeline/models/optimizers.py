"""Optimizers by the names of `conf/optimizer/`, whose files name a Keras class or the import path of a custom one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.cli.errors import UserError
from pipeline.config import rules
from pipeline.config import run_config as j
from pipeline.models import custom_code


def build(optimizer: j.Optimizer, clip_norm: float | None = None) -> Any:
    """Return a new `keras.optimizers.Optimizer` with exactly these hyper-parameters. Raises UserError for an unknown class.

    `clip_norm` is the maximum of the global norm of the gradients.
    """
    import keras

    name = optimizer.keras_class or rules.keras_class(optimizer.name)
    own = "." in name
    kind = custom_code.load(name, "optimizer.class") if own else getattr(keras.optimizers, name, None)
    if not (isinstance(kind, type) and issubclass(kind, keras.optimizers.Optimizer)):
        raise UserError(
            f"optimizer={optimizer.name}: class={name}: expected a class of keras.optimizers, or a subclass"
        )
    try:
        return kind(**dict(optimizer.hyperparameters), global_clipnorm=clip_norm)
    except (TypeError, ValueError) as error:
        raise UserError(f"optimizer={optimizer.name}: {name}: {error}") from error


class InitialState:
    """The initial values of an optimizer's variables, derived from two optimizers: building one for every run takes 10 ms.

    The two have different weights and learning rates. A variable with the same initial value in both is a constant. One
    that equals the learning rate or a weight (as in schedule-free optimizers) is set to it in every run.
    """

    def __init__(self, optimizer: j.Optimizer, weights: Sequence[Any]) -> None:
        """`weights` are the trainable variables of a built network; they are overwritten."""
        rates = (0.25, 0.5)
        built = [self._probe(optimizer, weights, number, rate) for number, rate in enumerate(rates)]
        first, second = ([np.asarray(value) for value in in_first[0]] for in_first in built)
        self._known = True
        """Whether this holds for every variable; if not, a new optimizer is built for every run."""
        self._sources: list[np.ndarray | int | None] = []
        """For each variable: an array for a constant, the index of a weight, or None for the learning rate."""
        for in_first, in_second in zip(first, second, strict=True):
            if np.array_equal(in_first, in_second):
                self._sources.append(in_first)
            elif in_first.ndim == 0 and (in_first, in_second) == tuple(in_first.dtype.type(rate) for rate in rates):
                self._sources.append(None)
            else:
                pairs = zip(built[0][1], built[1][1], strict=True)
                places = [
                    n for n, (a, b) in enumerate(pairs) if np.array_equal(in_first, a) and np.array_equal(in_second, b)
                ]
                self._known &= bool(places)
                self._sources += places[:1]

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
        """Return the initial state for these hyper-parameters and weights, in the order of the optimizer's `variables`."""
        if not self._known:
            fresh = build(optimizer)
            fresh.build(weights)
            return [_array(variable) for variable in fresh.variables]
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
