"""RunConfig: everything that decides the numbers of one training run, and nothing else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le

from pipeline.config import values


def digest(value: Any) -> str:
    """sha256 (hex) of the JSON of `value`, written in one way: sorted keys, no spaces, no NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Dataset:
    """Which data, and which of its training samples are held out. A default means what it meant before it existed."""

    name: str
    validation_size: values.Count
    """Training samples held out for validation; 0 for none: then curves are measured on the test split."""
    train_size: values.Count = 0
    """Training samples used of those that are not held out; 0 for all."""
    validation: Annotated[str, values.Choice(("random", "last"))] = "last"
    """`random`: stratified by class, drawn once with `validation_seed`, the same for every run. `last`: the last of the file."""
    validation_seed: values.Seed = 0
    """Of the random split and of the label noise; the seed of a run has no part in either."""
    label_noise: values.Share = 0.0
    """Share of the training labels that are replaced by another class, drawn once."""
    standardize: bool = False
    """Scale each pixel or feature to mean 0 and deviation 1, both of the samples trained on."""


@dataclass(frozen=True)
class Model:
    """A dense network: one width per hidden layer, input to output; a softmax over the classes follows."""

    hidden: values.Widths
    activation: Annotated[str, values.Choice(values.ACTIVATIONS)]
    """Of the hidden layers."""
    dropout: values.Share
    """Share of each hidden layer's outputs that dropout drops."""
    kernel_initializer: Annotated[str, values.Choice(values.INITIALIZERS)]
    """Of the hidden layers, by Keras's name."""
    input_dropout: values.Share = 0.0
    """Share of the pixels that dropout drops."""
    batch_normalization: bool = False
    """Before each hidden layer's activation."""
    max_norm: values.Size | None = None
    """Most that the norm of the weights into a hidden unit may be; null for no limit."""
    kernel_stddev: values.Size | None = None
    """Standard deviation of `random_normal` and `truncated_normal`, limit of `random_uniform`; null for Keras's default."""
    l1: values.Factor = 0.0
    """Factor of the sum of the kernels' absolute values in the training loss."""
    l2: values.Factor = 0.0
    """Factor of the sum of the kernels' squares in the training loss."""


@dataclass(frozen=True)
class CustomModel:
    """A network that is not dense: a name out of `conf/model/`, the function that builds it and its arguments by name."""

    name: str
    build: str
    """Import path of the function, such as `my_networks.residual`; see `pipeline.models.networks`."""
    arguments: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Optimizer:
    """A name out of `conf/optimizer/` and its hyper-parameters, sorted by name."""

    name: str
    hyperparameters: tuple[tuple[str, values.Number], ...]
    keras_class: str = ""
    """The class of `keras.optimizers`, or the import path of another one; empty for what its file says now."""

    def __getitem__(self, name: str) -> values.Number:
        return dict(self.hyperparameters)[name]


@dataclass(frozen=True)
class Training:
    epochs: Annotated[int, Ge(1), Le(10_000)]
    """Passes over the training samples."""
    batch_size: Annotated[int, Ge(1), Le(10_000_000)]
    """Samples in one step of the optimizer."""
    loss: values.Loss
    """What training makes smaller, by Keras's name or by import path."""
    curve_samples: values.Count
    """Training samples, drawn once for all runs, on which each point of the curve is measured; 0 for all."""
    decay: Annotated[float, Gt(0), Le(1)] = 1.0
    """Factor of the learning rate in every `decay_epochs` epochs, in steps (`staircase`) or smoothly (`exponential`); for
    `polynomial` and `inverse_time` the factor after `decay_epochs` epochs."""
    decay_epochs: values.Epochs = 0
    """Epochs that a decay takes, or the first period of `cosine_restarts`; 0 for a learning rate that stays."""
    patience: values.Epochs = 0
    """Points of the curve without a lower validation loss after which training ends; 0 for all `epochs`."""
    evaluate_every: Annotated[int, Ge(1), Le(10_000)] = 1
    """Epochs from one point of the curve to the next; the last epoch always is one."""
    stop_at_loss: values.Size | None = None
    """Training ends at the first point whose training loss is at most this; null for all `epochs`."""
    label_smoothing: values.Share = 0.0
    """Of the training loss only (Keras's `CategoricalCrossentropy`)."""
    schedule: values.Schedule = "staircase"
    """Of the learning rate, by name or by import path; see `pipeline.training.schedules`."""
    warmup_epochs: values.Epochs = 0
    """Epochs in which the learning rate rises linearly from 0; the schedule begins after them."""
    boundaries: values.Boundaries = ()
    """Of `piecewise`: epochs after which the learning rate changes."""
    factors: values.Factors = ()
    """Of `piecewise`: for each boundary, what the optimizer's learning rate is multiplied with from there on."""
    clip_norm: values.Size | None = None
    """Most that the norm of all gradients together may be (Keras's `global_clipnorm`); null for no limit."""
    power: values.Size = 1.0
    """Of `polynomial`: 1 for a straight line."""
    metrics: values.Metrics = ()
    """Further numbers of the predictions at the end of training, by name or by import path; see `pipeline.training.metrics`."""


@dataclass(frozen=True)
class RunConfig:
    dataset: Dataset
    model: Model | CustomModel
    optimizer: Optimizer
    training: Training
    seed: values.Seed

    def to_dict(self) -> dict[str, Any]:
        """Plain nested values without those that equal their default; `RunConfig.from_dict` is its inverse.

        So a new field with its default changes no key of a run that was trained before the field existed.
        """
        return self._plain(sparse=True)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> RunConfig:
        optimizer = dict(plain["optimizer"])
        name, keras_class = optimizer.pop("name"), optimizer.pop("class", "")
        return cls(
            dataset=Dataset(**_tuples(plain["dataset"])),
            model=_model(plain["model"]),
            optimizer=Optimizer(name, tuple(sorted(optimizer.items())), keras_class),
            training=Training(**_tuples(plain["training"])),
            seed=plain["seed"],
        )

    def flat(self) -> dict[str, Any]:
        """`{"model.hidden": [512], "optimizer.learning_rate": 0.001, …}`, all values, as MLflow's parameters show them."""
        flat: dict[str, Any] = {}
        for section, own in self._plain(sparse=False).items():
            flat |= (
                {f"{section}.{name}": value for name, value in own.items()} if isinstance(own, dict) else {section: own}
            )
        return flat

    def _plain(self, *, sparse: bool) -> dict[str, Any]:
        named = {"class": self.optimizer.keras_class} if self.optimizer.keras_class else {}
        return {
            "dataset": _lists(self.dataset, sparse),
            "model": _model_plain(self.model, sparse),
            "optimizer": {"name": self.optimizer.name, **named, **dict(self.optimizer.hyperparameters)},
            "training": _lists(self.training, sparse),
            "seed": self.seed,
        }

    @property
    def hidden(self) -> tuple[int, ...]:
        """Units of each hidden layer; of a custom model its argument `hidden`, or `depth` times `width`, if it has them."""
        if isinstance(self.model, Model):
            return self.model.hidden
        arguments = dict(self.model.arguments)
        if "hidden" in arguments:
            return tuple(arguments["hidden"])
        return (arguments["width"],) * arguments.get("depth", 1) if "width" in arguments else ()

    @property
    def width(self) -> int | None:
        """Units of each hidden layer where all are equal, else None."""
        widths = set(self.hidden)
        return widths.pop() if len(widths) == 1 else None

    @property
    def depth(self) -> int:
        return len(self.hidden)

    @property
    def shape(self) -> str:
        """The hidden layers as a person writes them: `512`, `512x256`; `none` without; `residual-128` of a custom model."""
        hidden = "x".join(map(str, self.hidden))
        if isinstance(self.model, Model):
            return hidden or "none"
        return f"{self.model.name}-{hidden}" if hidden else self.model.name

    @property
    def name(self) -> str:
        """What a person reads: `adam-w256-d1-s3`, or `adam-w512x256-s3` where the widths differ."""
        shape = f"w{self.width}-d{self.depth}" if self.width else "w" + "x".join(map(str, self.hidden))
        model = [] if isinstance(self.model, Model) else [self.model.name]
        return "-".join([self.optimizer.name, *model, *([shape] if self.hidden else []), f"s{self.seed}"])

    @property
    def own_code(self) -> tuple[str, ...]:
        """Import paths of what computes this run and is named in its configuration."""
        named = [self.optimizer.keras_class, self.training.loss, self.training.schedule, *self.training.metrics]
        build = [] if isinstance(self.model, Model) else [self.model.build]
        return (*build, *(name for name in named if "." in name))

    @cached_property
    def configuration(self) -> str:
        """Digest of everything but the seed: runs that share it are repetitions of one another."""
        plain = self.to_dict()
        del plain["seed"]
        return digest(plain)


def _model(plain: dict[str, Any]) -> Model | CustomModel:
    own = _tuples(plain)
    name, build = own.pop("name", ""), own.pop("build", "")
    return CustomModel(name, build, tuple(sorted(own.items()))) if build else Model(**own)


def _model_plain(model: Model | CustomModel, sparse: bool) -> dict[str, Any]:
    if isinstance(model, Model):
        return _lists(model, sparse) if sparse else {"name": "dense", **_lists(model, sparse)}
    arguments = {name: list(value) if isinstance(value, tuple) else value for name, value in model.arguments}
    return {"name": model.name, "build": model.build, **arguments}


def _lists(section: Dataset | Model | Training, sparse: bool) -> dict[str, Any]:
    """The fields of `section`, tuples as lists; `sparse`: without those that equal their default."""
    # `dataclasses.asdict` copies each value, which takes twenty times as long; a default is an attribute of the class.
    defaults = vars(type(section)) if sparse else {}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in vars(section).items()
        if name not in defaults or defaults[name] != value
    }


def _tuples(section: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in section.items()}
