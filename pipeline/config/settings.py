"""Every value of a command: of the run, the device, where results go, and what the command does."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt

from pipeline.config.run_config import Dataset, Model, Training
from pipeline.config.values import Choice, Count, Factor, Question, Seed, Share, Size, Tags, Text, Width, Widths


@dataclass(frozen=True)
class Network(Model):
    width: Width = 512
    """Units of each hidden layer."""
    depth: Annotated[int, Ge(1), Le(32)] = 1
    """Hidden layers."""
    hidden: Widths | None  # type: ignore[assignment]
    """Widths of the hidden layers, in place of `width` and `depth`."""


@dataclass(frozen=True)
class Device:
    kind: Annotated[str, Choice(("auto", "cpu", "gpu"))]
    """`auto`: a GPU if there is one, else the CPU."""
    backend: Annotated[str, Choice(("tensorflow", "jax"))]
    """Backend of Keras."""
    precision: Annotated[str, Choice(("float32", "float64", "tensorfloat32", "mixed_bfloat16"))]
    """Precision of numbers and products; `tensorfloat32` on a GPU only."""
    xla: bool
    """Compile with XLA."""
    trainer: Annotated[str, Choice(("engine", "reference"))]
    """`reference` trains with keras.fit, one run after the other."""
    workers: Annotated[int, Ge(0), Le(1024)]
    """Runs trained at the same time on a CPU; 0 for one per core. Changes no result."""
    stack: Annotated[int, Ge(0), Le(65_536)]
    """Models in one JAX program; 0 for 4 on a CPU, 256 on a GPU. Part of a run's key, since it may change bits."""
    gpus: Annotated[int, Ge(0), Le(1024)]
    """GPUs that train a sweep, with a process each; 0 for all. Changes no result."""
    checkpoint_minutes: Annotated[float, Ge(0), Le(100_000)]
    """Minutes between checkpoints of a long run; 0 for none. Changes no result."""


@dataclass(frozen=True)
class Tracking:
    kind: Annotated[str, Choice(("sqlite", "server", "none"))]
    """Where MLflow stores runs; `none` does not use MLflow."""
    uri: Text | None
    """Address of the MLflow server; null for MLFLOW_TRACKING_URI."""
    system_metrics: bool
    """Log the use of processor, memory and GPUs of this machine to the parent run of a sweep."""


@dataclass(frozen=True)
class Paths:
    data: Text
    """Folder of preprocessed data sets."""
    runs: Text
    """Store of runs: a folder per run, named by its key."""
    results: Text | None
    """Folder of results that a sweep writes for `python -m pipeline.compare`; null for none."""


@dataclass(frozen=True)
class Command:
    seed: Seed
    """Seed of initial weights, batch order and dropout."""
    question: Question
    """The question that the runs answer: the name of their experiment in MLflow."""
    plan: bool
    """Show what would be trained and for how long; train nothing."""
    force: bool
    """Train stored runs again."""
    retry: Annotated[str, Choice(("failed", "diverged", "all", "none"))]
    """Which unfinished stored runs are trained again."""
    fail_fast: bool
    """End the sweep at the first failed run. A diverged run is not a failed one."""
    tags: Tags | None
    """MLflow tags of the sweep and its runs; not part of a run's key."""
    note: Text | None
    """Description of the sweep, or of the single run, in MLflow (Markdown)."""


SECTIONS: dict[str, type] = {
    "dataset": Dataset,
    "model": Network,
    "training": Training,
    "device": Device,
    "tracking": Tracking,
    "paths": Paths,
    "": Command,
}
"""Sections of the configuration with fixed keys; the keys of `optimizer` are the arguments of a Keras class."""

HYPERPARAMETERS: dict[str, Any] = {
    "learning_rate": Size,
    "weight_decay": Factor | None,
    "adam_weight_decay": Factor | None,
    **dict.fromkeys(("momentum", "rho", "beta_1", "beta_2", "adam_beta_1", "adam_beta_2"), Share),
    **dict.fromkeys(("epsilon", "epsilon_1", "epsilon_2"), Annotated[float, Gt(0), Le(1)]),
    **dict.fromkeys(("nesterov", "amsgrad", "centered", "relative_step"), bool),
    "initial_accumulator_value": Factor,
    **dict.fromkeys(
        ("l1_regularization_strength", "l2_regularization_strength", "l2_shrinkage_regularization_strength", "beta"),
        Factor,
    ),
    "learning_rate_power": Annotated[float, Ge(-10), Le(0)],
    "beta_2_decay": Annotated[float, Ge(-10), Lt(0)],
    "clip_threshold": Size,
    "rms_rate": Factor,
    "ns_steps": Annotated[int, Ge(1), Le(20)],
    "warmup_steps": Count,
}
"""Hyper-parameters of Keras's optimizers; a file may add others, which may be any number."""


def meanings() -> Iterator[tuple[str, str]]:
    """Yield each key with its meaning: the string below its declaration."""
    for section, kind in SECTIONS.items():
        for declaring in reversed(kind.__mro__[:-1]):
            [definition] = ast.parse(inspect.getsource(declaring)).body
            assert isinstance(definition, ast.ClassDef)
            for field, text in zip(definition.body, definition.body[1:], strict=False):
                if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                    key = ".".join(filter(None, [section, ast.unparse(field.target)]))
                    yield key, " ".join(ast.literal_eval(text.value).split())
