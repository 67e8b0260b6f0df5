"""RunResult: what one RunConfig gave. Complete in itself: tracking and compare need nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.config.run_config import RunConfig

FINISHED, DIVERGED, FAILED, PRUNED = "finished", "diverged", "failed", "pruned"


@dataclass
class RunResult:
    """One run.

    `history` maps a metric to its values, one for each point of the curve: `train/loss`, `train/accuracy` (weights fixed,
    inference mode; at every point on the same `curve_samples` training samples), the same for all held-out samples (`val/…`,
    or `test/…` where nothing is held out), `gap/accuracy`, `gap/loss`, and `running/loss`, `running/accuracy` (means over
    the batches of that epoch while the weights move, penalties and label smoothing included; never used for a gap).

    `metrics` are single numbers with the weights at the end of training, on all samples: `train/…`, `test/…` and, with a
    validation split, `val/…`, each `accuracy` and `loss`; `overfitting_gap/…`, `book_gap/…` and `split_offset/…`, see
    `gaps.final_gaps`; `test/calibration_error`; `excess/loss` (held-out loss at the last point minus its minimum over the
    points) and `lowest/epoch` (the epoch of that minimum); `best/epoch` and `best/val_accuracy` (the most accurate point);
    `time/train_s` (training alone) and `time/epochs` (epochs trained). Accuracies are shares in [0, 1], losses are in
    nats (or squared error) without penalties and label smoothing, times in seconds, epochs from 1.

    `digests` are sha256 of arrays: `split`, `initial_weights`, `batch_order`, `final_weights`, `predictions`.
    """

    key: str
    job: RunConfig
    status: str
    reason: str | None = None
    history: dict[str, list[float]] = field(default_factory=dict)
    epochs: list[int] = field(default_factory=list)
    """The epoch of each point of the curve, from 1; 1, 2, 3 … in a record that does not say."""
    metrics: dict[str, float] = field(default_factory=dict)
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

    def __post_init__(self) -> None:
        if not self.epochs:
            self.epochs = list(range(1, 1 + max(map(len, self.history.values()), default=0)))

    @property
    def exact(self) -> dict[str, list[str]]:
        """Every number of the history, and every metric that is no time, in hexadecimal: no rounding, no doubt."""
        metrics = {name: [value] for name, value in self.metrics.items() if not name.startswith("time/")}
        return {name: [float(value).hex() for value in values] for name, values in (metrics | self.history).items()}

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
        # Earlier releases called the metrics figures.
        named = {"metrics" if name == "figures" else name: value for name, value in record.items()}
        return cls(**{**named, "job": RunConfig.from_dict(record["job"])})
