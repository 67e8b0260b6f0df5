"""RunConfig: everything that decides the numbers of one training run, and nothing else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Number = float | int | bool | None


def canonical_json(value: Any) -> str:
    """The one way this project writes JSON that gets hashed: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """sha256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


@dataclass(frozen=True)
class Dataset:
    """Which data, and how many of its last training samples are held out for validation."""

    name: str
    validation_size: int
    train_size: int = 0
    """Training samples used, from the first; 0 for all that are not held out."""


@dataclass(frozen=True)
class Model:
    """A dense network: one width per hidden layer, input to output; a softmax over the classes follows."""

    hidden: tuple[int, ...]
    activation: str
    dropout: float
    kernel_initializer: str
    input_dropout: float = 0.0
    """Share of the pixels that dropout drops."""
    batch_normalization: bool = False
    """Before each hidden layer's activation."""
    max_norm: float | None = None
    """Most that the norm of the weights into a hidden unit may be; None for no limit."""


@dataclass(frozen=True)
class Optimizer:
    """A name out of `conf/optimizer/` and its hyper-parameters, sorted by name."""

    name: str
    hyperparameters: tuple[tuple[str, Number], ...]

    def __getitem__(self, name: str) -> Number:
        return dict(self.hyperparameters)[name]


@dataclass(frozen=True)
class Training:
    epochs: int
    batch_size: int
    loss: str
    curve_samples: int
    """Training samples, drawn once for all runs, on which the curve is measured after each epoch; 0 for all."""
    decay: float = 1.0
    """Factor of the learning rate after every `decay_epochs` epochs."""
    decay_epochs: int = 0
    """0 for a learning rate that stays."""
    patience: int = 0
    """Epochs without a lower validation loss after which training ends; 0 for all `epochs`."""


@dataclass(frozen=True)
class RunConfig:
    dataset: Dataset
    model: Model
    optimizer: Optimizer
    training: Training
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain nested values; `RunConfig.from_dict` is its inverse."""
        # All values but these two are plain; `dataclasses.asdict` copies each of them, which takes twenty times as long.
        return {
            "dataset": dict(vars(self.dataset)),
            "model": {**vars(self.model), "hidden": list(self.model.hidden)},
            "optimizer": {"name": self.optimizer.name, **dict(self.optimizer.hyperparameters)},
            "training": dict(vars(self.training)),
            "seed": self.seed,
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> RunConfig:
        optimizer = dict(plain["optimizer"])
        name = optimizer.pop("name")
        return cls(
            dataset=Dataset(**plain["dataset"]),
            model=Model(**{**plain["model"], "hidden": tuple(plain["model"]["hidden"])}),
            optimizer=Optimizer(name, tuple(sorted(optimizer.items()))),
            training=Training(**plain["training"]),
            seed=plain["seed"],
        )

    def flat(self) -> dict[str, Any]:
        """`{"model.hidden": [512], "optimizer.learning_rate": 0.001, …}`, as MLflow's parameters show it."""
        flat: dict[str, Any] = {}
        for section, values in self.to_dict().items():
            if isinstance(values, dict):
                flat |= {f"{section}.{name}": value for name, value in values.items()}
            else:
                flat[section] = values
        return flat

    @property
    def width(self) -> int | None:
        """Units of each hidden layer where all are equal, else None."""
        widths = set(self.model.hidden)
        return widths.pop() if len(widths) == 1 else None

    @property
    def depth(self) -> int:
        return len(self.model.hidden)

    @property
    def name(self) -> str:
        """What a person reads: `adam-w256-d1-s3`, or `adam-w512x256-s3` where the widths differ."""
        shape = f"w{self.width}-d{self.depth}" if self.width else "w" + "x".join(map(str, self.model.hidden))
        return f"{self.optimizer.name}-{shape}-s{self.seed}"

    @cached_property
    def configuration(self) -> str:
        """Digest of everything but the seed: runs that share it are repetitions of one another."""
        plain = self.to_dict()
        del plain["seed"]
        return digest(plain)
