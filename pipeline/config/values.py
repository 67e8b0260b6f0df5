"""Types of configuration values, for validation, messages and help."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, GroupedMetadata, Gt, Le, Len, Lt, Predicate

Number = float | int | bool | None

ACTIVATIONS = ("relu", "tanh", "sigmoid", "elu", "selu", "gelu", "silu", "softplus", "softsign", "leaky_relu", "linear")
LOSSES = (
    "categorical_crossentropy",
    "mean_squared_error",
    "categorical_focal_crossentropy",
    "kl_divergence",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_hinge",
    "cosine_similarity",
    "hinge",
    "huber",
    "log_cosh",
    "mean_absolute_error",
    "mean_squared_logarithmic_error",
    "poisson",
    "squared_hinge",
)
"""Keras's losses per sample, for one-hot labels and probabilities."""
WITH_STDDEV = ("random_normal", "random_uniform", "truncated_normal")
"""Initializers with a configurable standard deviation or limit; for the others it follows from the layer."""
INITIALIZERS = (
    *("glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal"),
    *WITH_STDDEV,
)
WITH_DECAY = ("staircase", "exponential", "inverse_time", "polynomial")
"""Schedules that use `decay` and `decay_epochs`."""
SCHEDULES = ("constant", *WITH_DECAY, "cosine", "cosine_restarts", "piecewise")
METRICS = ("top_2_accuracy", "top_3_accuracy", "top_5_accuracy", "macro_f1", "brier_score")


@dataclass(frozen=True)
class Choice(GroupedMetadata):
    """Annotation of a text: one of these names."""

    names: tuple[str, ...]
    own: bool = False
    """Whether an import path of custom code is allowed too."""

    def __iter__(self) -> Iterator[Predicate]:
        yield Predicate(self.accepts)

    def accepts(self, name: str) -> bool:
        parts = name.split(".")
        return name in self.names or (self.own and len(parts) > 1 and all(map(str.isidentifier, parts)))

    @property
    def text(self) -> str:
        own = ", or an import path such as my_module.mine" if self.own else ""
        return f"one of {', '.join(self.names)}{own}"


@dataclass(frozen=True)
class Words:
    """Annotation of any type: what is expected, if type and bounds do not tell."""

    text: str
    names: tuple[str, ...] = ()


Count = Annotated[int, Ge(0), Le(10_000_000)]
Epochs = Annotated[int, Ge(0), Le(10_000)]
Seed = Annotated[int, Ge(0), Le(2**64 - 1)]
Share = Annotated[float, Ge(0), Lt(1)]
Size = Annotated[float, Gt(0), Le(1000)]
Factor = Annotated[float, Ge(0), Le(1000)]
Text = Annotated[str, Predicate(lambda text: text.strip() != "" and "\0" not in text), Words("a text")]
TagName = Annotated[str, Predicate(lambda name: name.isprintable() and 0 < len(name.strip()) <= 250)]
Width = Annotated[int, Ge(1), Le(65_536)]
Widths = Annotated[
    tuple[Width, ...], Len(1, 32), Words("a list of 1 to 32 whole numbers from 1 to 65,536, such as [300,100]")
]
Boundaries = Annotated[
    tuple[Annotated[int, Ge(1), Le(10_000)], ...],
    Len(0, 32),
    Predicate(lambda epochs: list(epochs) == sorted(set(epochs))),
    Words("a list of at most 32 epochs from 1 to 10,000 in ascending order, such as [10,20]"),
]
Factors = Annotated[
    tuple[Factor, ...],
    Len(0, 32),
    Words("a list of at most 32 numbers of at least 0 and at most 1000, such as [0.1,0.01]"),
]
Loss = Annotated[str, Choice(LOSSES, own=True)]
Schedule = Annotated[str, Choice(SCHEDULES, own=True)]
Metrics = Annotated[
    tuple[Annotated[str, Choice(METRICS, own=True)], ...],
    Len(0, 32),
    Predicate(lambda names: len(names) == len({name.rpartition(".")[2] for name in names})),
    Words(f"a list of different names among {', '.join(METRICS)} or import paths such as my_metrics.worst_class"),
]
Tags = Annotated[
    dict[TagName, str | int | float | bool] | tuple[TagName, ...],
    Words("a list of words such as [paper,final], or names with values such as {stage:final}"),
]
Question = Annotated[
    Text,
    Predicate(lambda text: len(text) <= 256 and text.isprintable()),
    Words("a text of one line and at most 256 characters: MLflow's limit for the name of an experiment"),
]
Scalar = Annotated[
    float | bool | None,
    Predicate(lambda value: value is None or abs(value) < float("inf")),
    Words("a number, true, false or null"),
]
Printable = Annotated[str, Predicate(str.isprintable)]
Argument = Annotated[
    bool | int | float | Printable | tuple[bool | int | float | Printable | None, ...] | None,
    Words("a number, a text, true, false, null, or a list of these"),
]
