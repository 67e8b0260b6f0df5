"""RunResult: what one RunConfig gave. Complete in itself: tracking and compare need nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.config.run_config import RunConfig

FINISHED, DIVERGED, FAILED = "finished", "diverged", "failed"


@dataclass
class RunResult:
    """One run.

    `history` maps a metric to its values, one per epoch: `train/loss`, `train/accuracy` (weights
    fixed, inference mode; `curve_samples` of the training samples, after the last epoch all), the same for the
    held-out split (`val/…`, or `test/…` where nothing is held out for validation), `gap/accuracy`, `gap/loss`, and
    `running/loss`, `running/accuracy` (means over the batches while the weights move; never used for a gap).

    `figures` are single numbers: `test/accuracy`, `test/loss`, `overfitting_gap/accuracy`,
    `overfitting_gap/loss` (training against test, last epoch), `train/accuracy`, `train/loss`,
    `time/train_s` and, with a validation split, `val/accuracy`, `val/loss`, `best/epoch` (from 1),
    `best/val_accuracy`. Accuracies are shares in [0, 1], losses are in nats (or squared error), times in seconds.

    `digests` are sha256 of arrays: `initial_weights`, `batch_order`, `final_weights`, `predictions`.
    """

    key: str
    job: RunConfig
    status: str
    reason: str | None = None
    history: dict[str, list[float]] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    identity: dict[str, Any] = field(default_factory=dict)
    """What the key was made from besides the RunConfig: `data` and `source` digests, `numerics` (a dict)."""
    environment: dict[str, str] = field(default_factory=dict)
    """Where it ran; decides nothing: versions, platform, git commit, DVC experiment, lock digest."""
    sources: dict[str, str] = field(default_factory=dict)
    """sha256 of each source file that decides numbers; `identity["source"]` is the digest of this."""
    started: str = ""
    """Start of the training, UTC, ISO 8601."""
    predictions: np.ndarray | None = None
    """uint8 (n_test,): the class given to each test sample. None for a run that did not finish."""
    probabilities: np.ndarray | None = None
    """float32 (n_test, classes); kept with the weights."""
    weights: dict[str, np.ndarray] | None = None
    """Final weights by path (`hidden_1/kernel` …), where they are kept."""
    patch: bytes = b""
    """What the checkout had beyond its git commit, for `git apply`; `environment["patch"]` is its sha256."""

    @property
    def exact(self) -> dict[str, list[str]]:
        """Every number of the history, and every figure that is no time, in hexadecimal: no rounding, no doubt."""
        figures = {name: [value] for name, value in self.figures.items() if not name.startswith("time/")}
        return {name: [float(value).hex() for value in values] for name, values in (figures | self.history).items()}

    @property
    def name(self) -> str:
        return self.job.name

    @property
    def finished(self) -> bool:
        return self.status == FINISHED

    def record(self) -> dict[str, Any]:
        """All but the arrays, as plain JSON values."""
        arrays = ("predictions", "probabilities", "weights", "patch")
        plain = {name: value for name, value in self.__dict__.items() if name not in arrays}
        return plain | {"job": self.job.to_dict()}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> RunResult:
        return cls(**{**record, "job": RunConfig.from_dict(record["job"])})
