"""Optimizers by the names of `conf/optimizer/`, whose files say the class: one of Keras's, or one's own by its import path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.cli.errors import UserError
from pipeline.config import rules
from pipeline.config import run_config as j
from pipeline.models import own_code


def build(optimizer: j.Optimizer, clip_norm: float | None = None) -> Any:
    """A fresh `keras.optimizers.Optimizer` with exactly these hyper-parameters. Raises UserError for an unknown class.

    `clip_norm` is the most that the norm of all gradients together may be.
    """
    import keras

    name = optimizer.keras_class or rules.keras_class(optimizer.name)
    own = "." in name
    kind = own_code.load(name, "optimizer.class") if own else getattr(keras.optimizers, name, None)
    if not (isinstance(kind, type) and issubclass(kind, keras.optimizers.Optimizer)):
        raise UserError(
            f"optimizer={optimizer.name}: class={name}: expected a class of keras.optimizers, or a subclass"
        )
    try:
        return kind(**dict(optimizer.hyperparameters), global_clipnorm=clip_norm)
    except (TypeError, ValueError) as error:
        raise UserError(f"optimizer={optimizer.name}: {name}: {error}") from error


class InitialState:
    """Where the variables of an optimizer begin, learnt from Keras's own: building a fresh one for every run costs 10 ms.

    Two are built, over different weights and with different learning rates. What is the same in both is a constant; what
    is each one's learning rate or weights (schedule-free starts from them) is that again in every run.
    """

    def __init__(self, optimizer: j.Optimizer, weights: Sequence[Any]) -> None:
        """`weights` are a built network's trainable variables; they are overwritten."""
        rates = (0.25, 0.5)
        built = [self._probe(optimizer, weights, number, rate) for number, rate in enumerate(rates)]
        first, second = ([np.asarray(value) for value in in_first[0]] for in_first in built)
        self._known = True
        """Whether each variable begins in one of these ways; if not, a fresh optimizer is built for every run."""
        self._sources: list[np.ndarray | int | None] = []
        """An array is a constant, a number the weights of this place, None the learning rate."""
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
        """The state that begins a run with these hyper-parameters from these weights, in the order of its `variables`."""
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
