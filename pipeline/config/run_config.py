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
    """Return the sha256 (hex) of `value` as canonical JSON: sorted keys, no spaces, no NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Dataset:
    """The data, and which training samples are held out. The default of a newer field is what older runs did."""

    name: str
    validation_size: values.Count
    """Training samples held out for validation; 0 for none, and curves are measured on the test split."""
    train_size: values.Count = 0
    """Training samples to use of those that are not held out; 0 for all."""
    validation: Annotated[str, values.Choice(("random", "last"))] = "last"
    """`random`: stratified by class, drawn with `validation_seed`, the same for every run. `last`: the last of the file."""
    validation_seed: values.Seed = 0
    """Seed of the random split and of the label noise, which do not depend on the seed of a run."""
    label_noise: values.Share = 0.0
    """Fraction of the training labels that are replaced by another class, drawn once."""
    standardize: bool = False
    """Scale each pixel or feature to mean 0 and standard deviation 1 over the samples trained on."""


@dataclass(frozen=True)
class Model:
    """A dense network: one width per hidden layer, input to output, then a softmax over the classes."""

    hidden: values.Widths
    activation: Annotated[str, values.Choice(values.ACTIVATIONS)]
    """Activation of the hidden layers."""
    dropout: values.Share
    """Dropout rate of each hidden layer's outputs."""
    kernel_initializer: Annotated[str, values.Choice(values.INITIALIZERS)]
    """Keras's initializer of the hidden layers."""
    input_dropout: values.Share = 0.0
    """Dropout rate of the inputs."""
    batch_normalization: bool = False
    """Normalize before each hidden layer's activation."""
    max_norm: values.Size | None = None
    """Largest norm of the weights into a hidden unit; null for no limit."""
    kernel_stddev: values.Size | None = None
    """Standard deviation of `random_normal` and `truncated_normal`, limit of `random_uniform`; null for Keras's default."""
    l1: values.Factor = 0.0
    """Factor of the sum of the kernels' absolute values in the training loss."""
    l2: values.Factor = 0.0
    """Factor of the sum of the kernels' squares in the training loss."""


@dataclass(frozen=True)
class CustomModel:
    """Another network: a name in `conf/model/`, the function that builds it, and its arguments by name."""

    name: str
    build: str
    """Import path of the function, such as `my_networks.residual`; see `pipeline.models.networks`."""
    arguments: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Optimizer:
    """A name in `conf/optimizer/` and its hyper-parameters, sorted by name."""

    name: str
    hyperparameters: tuple[tuple[str, values.Number], ...]
    keras_class: str = ""
    """The class of `keras.optimizers`, or an import path; empty for the class in its file."""

    def __getitem__(self, name: str) -> values.Number:
        return dict(self.hyperparameters)[name]


@dataclass(frozen=True)
class Training:
    epochs: Annotated[int, Ge(1), Le(10_000)]
    """Passes over the training samples."""
    batch_size: Annotated[int, Ge(1), Le(10_000_000)]
    """Samples per step of the optimizer."""
    loss: values.Loss
    """Loss to minimize, by Keras's name or by import path."""
    curve_samples: values.Count
    """Training samples, drawn once for all runs, on which each point of the curve is measured; 0 for all."""
    decay: Annotated[float, Gt(0), Le(1)] = 1.0
    """Factor of the learning rate every `decay_epochs` epochs, in steps (`staircase`) or smoothly (`exponential`); for
    `polynomial` and `inverse_time`, the factor after `decay_epochs` epochs."""
    decay_epochs: values.Epochs = 0
    """Epochs of a decay, or the first period of `cosine_restarts`; 0 for a constant learning rate."""
    patience: values.Epochs = 0
    """Points of the curve without a lower validation loss after which training ends; 0 for all `epochs`."""
    evaluate_every: Annotated[int, Ge(1), Le(10_000)] = 1
    """Epochs between points of the curve; the last epoch is always one."""
    stop_at_loss: values.Size | None = None
    """Training loss at which training ends, at the first point with at most this loss; null for all `epochs`."""
    label_smoothing: values.Share = 0.0
    """Label smoothing of the training loss only (Keras's `CategoricalCrossentropy`)."""
    schedule: values.Schedule = "staircase"
    """Schedule of the learning rate, by name or by import path; see `pipeline.training.schedules`."""
    warmup_epochs: values.Epochs = 0
    """Epochs in which the learning rate rises linearly from 0, before the schedule begins."""
    boundaries: values.Boundaries = ()
    """For `piecewise`: epochs after which the learning rate changes."""
    factors: values.Factors = ()
    """For `piecewise`: the factor of the optimizer's learning rate after each boundary."""
    clip_norm: values.Size | None = None
    """Largest norm of all gradients together (Keras's `global_clipnorm`); null for no limit."""
    power: values.Size = 1.0
    """For `polynomial`: the power; 1 for a straight line."""
    metrics: values.Metrics = ()
    """Further metrics of the predictions after training, by name or by import path; see `pipeline.training.metrics`."""


@dataclass(frozen=True)
class RunConfig:
    dataset: Dataset
    model: Model | CustomModel
    optimizer: Optimizer
    training: Training
    seed: values.Seed

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested values without defaults; the inverse of `RunConfig.from_dict`.

        Without defaults, a new field does not change the keys of earlier runs.
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
        """Return all values by dotted key, as in MLflow: `{"model.hidden": [512], "optimizer.learning_rate": 0.001, …}`."""
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
        """Units of each hidden layer; of a custom model, its argument `hidden`, or `width` for each of `depth` layers."""
        if isinstance(self.model, Model):
            return self.model.hidden
        arguments = dict(self.model.arguments)
        if "hidden" in arguments:
            return tuple(arguments["hidden"])
        return (arguments["width"],) * arguments.get("depth", 1) if "width" in arguments else ()

    @property
    def width(self) -> int | None:
        """Units of each hidden layer if all are equal, else None."""
        widths = set(self.hidden)
        return widths.pop() if len(widths) == 1 else None

    @property
    def depth(self) -> int:
        return len(self.hidden)

    @property
    def shape(self) -> str:
        """The hidden layers as text: `512`, `512x256`; `none` without any; `residual-128` of a custom model."""
        hidden = "x".join(map(str, self.hidden))
        if isinstance(self.model, Model):
            return hidden or "none"
        return f"{self.model.name}-{hidden}" if hidden else self.model.name

    @property
    def name(self) -> str:
        """A readable name: `adam-w256-d1-s3`, or `adam-w512x256-s3` if the widths differ."""
        shape = f"w{self.width}-d{self.depth}" if self.width else "w" + "x".join(map(str, self.hidden))
        model = [] if isinstance(self.model, Model) else [self.model.name]
        return "-".join([self.optimizer.name, *model, *([shape] if self.hidden else []), f"s{self.seed}"])

    @property
    def custom_code(self) -> tuple[str, ...]:
        """Import paths of the code that the configuration names."""
        named = [self.optimizer.keras_class, self.training.loss, self.training.schedule, *self.training.metrics]
        build = [] if isinstance(self.model, Model) else [self.model.build]
        return (*build, *(name for name in named if "." in name))

    @cached_property
    def configuration(self) -> str:
        """Digest of everything but the seed; runs with the same one are repetitions."""
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
    """Return the fields of `section`, tuples as lists; `sparse`: without defaults."""
    # `dataclasses.asdict` copies each value, which takes twenty times as long; a default is an attribute of the class.
    defaults = vars(type(section)) if sparse else {}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in vars(section).items()
        if name not in defaults or defaults[name] != value
    }


def _tuples(section: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in section.items()}
