"""The typed configuration: what Hydra composes from `conf/`, as dataclasses registered under the name `schema`."""

from __future__ import annotations

from dataclasses import dataclass, field

# OmegaConf reads these annotations at run time and knows Optional[list[int]], not list[int] | None.
from typing import Any, Optional

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from pipeline.config.hydra_version import REPLACE, register_resolver
from pipeline.config.rules import CONF


@dataclass
class DatasetConfig:
    name: str = MISSING
    validation_size: int = MISSING
    train_size: int = MISSING
    validation: str = MISSING
    validation_seed: int = MISSING
    label_noise: float = MISSING


@dataclass
class ModelConfig:
    width: int = MISSING
    depth: int = MISSING
    hidden: Optional[list[int]] = None  # noqa: UP045
    activation: str = MISSING
    dropout: float = MISSING
    kernel_initializer: str = MISSING
    input_dropout: float = MISSING
    batch_normalization: bool = MISSING
    max_norm: Optional[float] = None  # noqa: UP045
    kernel_stddev: Optional[float] = None  # noqa: UP045
    l1: float = MISSING
    l2: float = MISSING


@dataclass
class TrainingConfig:
    epochs: int = MISSING
    batch_size: int = MISSING
    loss: str = MISSING
    curve_samples: int = MISSING
    decay: float = MISSING
    decay_epochs: int = MISSING
    patience: int = MISSING
    evaluate_every: int = MISSING
    stop_at_loss: Optional[float] = None  # noqa: UP045
    label_smoothing: float = MISSING
    schedule: str = MISSING
    warmup_epochs: int = MISSING
    boundaries: list[int] = MISSING
    factors: list[float] = MISSING
    clip_norm: Optional[float] = None  # noqa: UP045


@dataclass
class DeviceConfig:
    kind: str = MISSING
    backend: str = MISSING
    precision: str = MISSING
    xla: bool = MISSING
    trainer: str = MISSING
    workers: int = MISSING
    stack: int = MISSING
    gpus: int = MISSING


@dataclass
class TrackingConfig:
    kind: str = MISSING
    uri: Optional[str] = None  # noqa: UP045


@dataclass
class PathsConfig:
    data: str = "data/processed"
    runs: str = "runs"
    results: Optional[str] = None  # noqa: UP045


@dataclass
class Config:
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: Any = MISSING
    training: TrainingConfig = field(default_factory=TrainingConfig)
    device: DeviceConfig = field(default_factory=DeviceConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)
    seed: int = 0
    question: str = "single runs"
    plan: bool = False
    force: bool = False
    retry: str = "failed"


def register() -> None:
    """Make what `conf/config.yaml` uses known to Hydra: `schema`, which it starts from, and `${checkout:}`."""
    register_resolver("checkout", lambda: str(CONF.parent), replace=True)
    ConfigStore.instance().store(name="schema", node=Config, **REPLACE)
