"""What a trainer measures of one run, and how a RunResult is made of it: the same for every trainer."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from pipeline.config.digests import array_digest, arrays_digest
from pipeline.config.run_config import RunConfig
from pipeline.data.arrays import Split
from pipeline.training.gaps import curve_gaps, final_gaps
from pipeline.training.result import DIVERGED, FAILED, FINISHED, RunResult


@dataclass(frozen=True)
class Epoch:
    """The end of an epoch: `index` says which job of the batch, `epoch` counts from 1."""

    index: int
    epoch: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Done:
    """The end of a run. `error` is the exception of a failed one."""

    index: int
    result: RunResult
    error: BaseException | None = None


Event = Epoch | Done


@dataclass
class Run:
    """A run in the making."""

    index: int
    job: RunConfig
    held_out: str
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    history: dict[str, list[float]] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    train_seconds: float = 0.0
    _orders: Any = field(default_factory=hashlib.sha256, repr=False)

    def in_order(self, order: np.ndarray) -> np.ndarray:
        """`order`, the next epoch's, noted for the digest `batch_order`: sha256 over the digests of all epochs' orders."""
        self._orders.update(array_digest(order).encode())
        self.digests["batch_order"] = self._orders.hexdigest()
        return order

    def metrics_of(self, numbers: Sequence[float] | np.ndarray) -> dict[str, float]:
        """The six numbers of an engine's epoch by name: (loss, accuracy) running, on training and on held-out samples."""
        splits = ("running", "train", self.held_out)
        names = [f"{split}/{what}" for split in splits for what in ("loss", "accuracy")]
        return {name: float(number) for name, number in zip(names, numbers, strict=True)}

    def measured(
        self, split: Split, numbers: Sequence[float], probabilities: np.ndarray, weights: dict[str, np.ndarray]
    ) -> RunResult:
        """The RunResult of the six numbers of an engine's last measurement."""
        train, held_out, test = zip(numbers[::2], numbers[1::2], strict=True)
        return self.finished(split, train, held_out, test, probabilities, weights)

    def add_epoch(self, metrics: dict[str, float]) -> Epoch:
        """Note one epoch's `running/…`, `train/…` and held-out figures, and the gaps between the last two."""
        metrics = metrics | curve_gaps(metrics, self.held_out)
        for name, value in metrics.items():
            self.history.setdefault(name, []).append(value)
        return Epoch(self.index, len(self.history["train/loss"]), metrics)

    @property
    def non_finite(self) -> str | None:
        """The first loss of the last epoch that is no number, in words."""
        for name in ("running/loss", "train/loss", f"{self.held_out}/loss"):
            value = self.history[name][-1]
            if not math.isfinite(value):
                return f"{name} is {value} after epoch {len(self.history[name])}"
        return None

    @property
    def patience_ended(self) -> bool:
        """Whether the validation loss has not been lower for as many epochs as the job waits (Prechelt 1998)."""
        patience = self.job.training.patience
        losses = self.history[f"{self.held_out}/loss"]
        return bool(patience) and len(losses) - 1 - int(np.argmin(losses)) >= patience

    def finished(
        self,
        split: Split,
        train: tuple[float, float],
        held_out: tuple[float, float],
        test: tuple[float, float],
        probabilities: np.ndarray,
        weights: dict[str, np.ndarray],
    ) -> RunResult:
        """The RunResult; `train`, `held_out` and `test` are (loss, accuracy) on all samples with the final weights."""
        # The curve's last point is on all samples, like the figures: one number for one thing.
        last = {"train/loss": train[0], "train/accuracy": train[1]}
        last |= {f"{self.held_out}/loss": held_out[0], f"{self.held_out}/accuracy": held_out[1]}
        for name, value in (last | curve_gaps(last, self.held_out)).items():
            self.history[name][-1] = value
        predictions = probabilities.argmax(axis=1).astype(np.uint8)
        figures = {
            "train/loss": train[0],
            "train/accuracy": train[1],
            "test/loss": test[0],
            "test/accuracy": test[1],
            "time/train_s": self.train_seconds,
        } | final_gaps(train, test)
        if split.held_out == "val":
            accuracies = self.history["val/accuracy"]
            best = int(np.argmax(accuracies))
            figures |= {
                "val/loss": held_out[0],
                "val/accuracy": held_out[1],
                "best/epoch": best + 1,
                "best/val_accuracy": accuracies[best],
            }
        digests = {"predictions": array_digest(predictions), "final_weights": arrays_digest(weights)}
        result = self._result(FINISHED, None, figures, digests)
        result.predictions, result.weights = predictions, weights
        result.probabilities = probabilities.astype(np.float32)
        return result

    def diverged(self, reason: str) -> RunResult:
        return self._result(DIVERGED, reason, {"time/train_s": self.train_seconds}, {})

    def failed(self, error: BaseException) -> RunResult:
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"[:500]
        return self._result(FAILED, reason, {"time/train_s": self.train_seconds}, {})

    def _result(self, status: str, reason: str | None, figures: dict[str, float], digests: dict[str, str]) -> RunResult:
        return RunResult(
            key="",
            job=self.job,
            status=status,
            reason=reason,
            history=self.history,
            figures=figures,
            digests=self.digests | digests,
            started=self.started.isoformat(timespec="milliseconds"),
        )
