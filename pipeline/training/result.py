"""RunResult: the result of one RunConfig. Tracking and compare need nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.config.run_config import RunConfig

FINISHED, DIVERGED, FAILED, PRUNED = "finished", "diverged", "failed", "pruned"


@dataclass
class RunResult:
    """One run.

    `history` maps a metric to its values, one per point of the curve: `train/loss`, `train/accuracy` (fixed weights,
    inference mode, the same `curve_samples` training samples at every point), the same on all held-out samples (`val/…`,
    or `test/…` if nothing is held out), `gap/accuracy`, `gap/loss`, and `running/loss`, `running/accuracy` (means over the
    batches of that epoch while the weights change, penalties and label smoothing included; never used for a gap).

    `metrics` are measured with the final weights, on all samples: `train/…`, `test/…` and, with a validation split,
    `val/…`, each `accuracy` and `loss`; `overfitting_gap/…`, `book_gap/…` and `split_offset/…`, see `gaps.final_gaps`;
    `test/calibration_error`; `excess/loss` (held-out loss at the last point minus its minimum over the points) and
    `lowest/epoch` (the epoch of that minimum); `best/epoch` and `best/val_accuracy` (the most accurate point);
    `time/train_s` (training alone) and `time/epochs` (epochs trained). Accuracies are in [0, 1], losses in nats (or squared
    error) without penalties and label smoothing, times in seconds; epochs count from 1.

    `digests` are the sha256 of arrays: `split`, `initial_weights`, `batch_order`, `final_weights`, `predictions`.
    """

    key: str
    job: RunConfig
    status: str
    reason: str | None = None
    history: dict[str, list[float]] = field(default_factory=dict)
    epochs: list[int] = field(default_factory=list)
    """The epoch of each point of the curve, from 1; 1, 2, 3 … in a record without this field."""
    metrics: dict[str, float] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    identity: dict[str, Any] = field(default_factory=dict)
    """The inputs of the key other than the RunConfig: `data` and `source` digests, `numerics` (a dict)."""
    environment: dict[str, str] = field(default_factory=dict)
    """Where it ran: versions, platform, git commit, DVC experiment, lock digest. Not part of the key."""
    sources: dict[str, str] = field(default_factory=dict)
    """sha256 of each source file that affects the numbers; `identity["source"]` is the digest of this."""
    started: str = ""
    """Start of training, UTC, ISO 8601."""
    predictions: np.ndarray | None = None
    """uint8 (n_test,): the predicted class of each test sample; None for an unfinished run."""
    probabilities: np.ndarray | None = None
    """float32 (n_test, classes); stored with the weights."""
    weights: dict[str, np.ndarray] | None = None
    """Final weights by path (`hidden_1/kernel` …), if they are stored."""
    patch: bytes = b""
    """Uncommitted changes of the checkout, for `git apply`; `environment["patch"]` is their sha256."""

    def __post_init__(self) -> None:
        if not self.epochs:
            self.epochs = list(range(1, 1 + max(map(len, self.history.values()), default=0)))

    @property
    def exact(self) -> dict[str, list[str]]:
        """All numbers of the history and all metrics except times, as hexadecimal floats, which are exact."""
        metrics = {name: [value] for name, value in self.metrics.items() if not name.startswith("time/")}
        return {name: [float(value).hex() for value in values] for name, values in (metrics | self.history).items()}

    @property
    def name(self) -> str:
        return self.job.name

    @property
    def finished(self) -> bool:
        return self.status == FINISHED

    def record(self) -> dict[str, Any]:
        """Return all fields but the arrays, as plain JSON values."""
        arrays = ("predictions", "probabilities", "weights", "patch")
        plain = {name: value for name, value in self.__dict__.items() if name not in arrays}
        return plain | {"job": self.job.to_dict()}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> RunResult:
        # Earlier releases stored the metrics as "figures".
        named = {"metrics" if name == "figures" else name: value for name, value in record.items()}
        return cls(**{**named, "job": RunConfig.from_dict(record["job"])})
