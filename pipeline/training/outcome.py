"""Collects what a trainer measures in a run and builds its RunResult; all trainers share this."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from pipeline.cli.errors import UserError
from pipeline.config.digests import array_digest, arrays_digest
from pipeline.config.run_config import RunConfig
from pipeline.models import randomness
from pipeline.training import metrics as extra_metrics
from pipeline.training.calibration import calibration_error
from pipeline.training.gaps import Score, curve_gaps, final_gaps
from pipeline.training.result import DIVERGED, FAILED, FINISHED, PRUNED, RunResult
from pipeline.training.splits import Split


@dataclass(frozen=True)
class Epoch:
    """A point of the curve: `index` is the job's index in the batch, `epoch` counts from 1."""

    index: int
    epoch: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Done:
    """The end of a run; `error` is the exception of a failed run."""

    index: int
    result: RunResult
    error: BaseException | None = None


Event = Epoch | Done
Prune = Callable[[Epoch], bool]
"""Called after each point of a curve but the last; True ends the run. Several threads may call it at the same time."""
Numbers = Sequence[float] | np.ndarray


def never_prune(point: Epoch) -> bool:
    return False


@dataclass
class Run:
    """A run during training. Losses and accuracies are passed as pairs (loss, accuracy)."""

    index: int
    job: RunConfig
    split: Split
    prune: Prune = never_prune
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    history: dict[str, list[float]] = field(default_factory=dict)
    epochs: list[int] = field(default_factory=list)
    """The epoch of each point of the curve."""
    digests: dict[str, str] = field(default_factory=dict)
    train_seconds: float = 0.0
    trained: int = 0
    """Number of epochs so far."""
    non_finite: str | None = None
    """Describes the first loss that is not finite, which means that the run diverged."""
    pruned: bool = False
    _orders: Any = field(default_factory=hashlib.sha256, repr=False)

    def __post_init__(self) -> None:
        if self.split.digest:
            self.digests["split"] = self.split.digest

    @property
    def held_out(self) -> str:
        return self.split.held_out_name

    def note_order(self, order: np.ndarray) -> np.ndarray:
        """Add the next epoch's `order` to the digest `batch_order`, the sha256 over all epochs' digests, and return it."""
        self._orders.update(array_digest(order).encode())
        self.digests["batch_order"] = self._orders.hexdigest()
        return order

    def progress(self) -> dict[str, Any]:
        """Return what `resume` needs to continue from here, as plain JSON values."""
        return {
            "history": self.history,
            "epochs": self.epochs,
            "digests": self.digests,
            "train_seconds": self.train_seconds,
            "trained": self.trained,
            "started": self.started.isoformat(),
        }

    def resume(self, progress: dict[str, Any]) -> None:
        """Continue a run that another process stopped at `progress`."""
        self.history, self.epochs = progress["history"], progress["epochs"]
        self.digests, self.train_seconds = progress["digests"], progress["train_seconds"]
        self.started = datetime.fromisoformat(progress["started"])
        for epoch in range(progress["trained"]):
            self.note_order(randomness.order(self.job.seed, epoch, len(self.split.train)))
        self.trained = progress["trained"]

    @property
    def point_is_next(self) -> bool:
        """Whether the curve gets a point after the next epoch."""
        epoch = self.trained + 1
        return epoch % self.job.training.evaluate_every == 0 or epoch == self.job.training.epochs

    def add_epoch(self, running: Numbers, curve: Numbers | None) -> Epoch | None:
        """Record the next epoch, and with `curve` a point: (loss, accuracy) on training and on held-out samples."""
        self.trained += 1
        numbers = [*running, *(curve if curve is not None else ())]
        names = [f"{split}/{what}" for split in ("running", "train", self.held_out) for what in ("loss", "accuracy")]
        point = {name: float(number) for name, number in zip(names, numbers, strict=False)}
        self._check_finite({name: value for name, value in point.items() if name.endswith("/loss")})
        if curve is None:
            return None
        point |= curve_gaps(point, self.held_out)
        self.epochs.append(self.trained)
        for name, value in point.items():
            self.history.setdefault(name, []).append(value)
        event = Epoch(self.index, self.trained, point)
        self.pruned = not self.ended and self.prune(event)
        return event

    def _check_finite(self, losses: dict[str, float]) -> None:
        for name, value in losses.items():
            if self.non_finite is None and not math.isfinite(value):
                self.non_finite = f"{name} is {value} after epoch {self.trained}"

    @property
    def ended(self) -> bool:
        """Whether the run has ended: all epochs trained, diverged, pruned or stopped early.

        It stops early when the training loss reaches `stop_at_loss`, or when the validation loss has not fallen below its
        minimum for `patience` points of the curve (Prechelt 1998).
        """
        training = self.job.training
        if self.non_finite or self.pruned or self.trained == training.epochs:
            return True
        if not self.epochs or self.epochs[-1] != self.trained:
            return False
        if training.stop_at_loss is not None and self.history["train/loss"][-1] <= training.stop_at_loss:
            return True
        losses = self.history[f"{self.held_out}/loss"]
        return bool(training.patience) and len(losses) - 1 - int(np.argmin(losses)) >= training.patience

    @property
    def needs_held_out_probabilities(self) -> bool:
        return bool(self.job.training.metrics) and self.held_out == "val"

    def finished_result(
        self,
        train: Numbers,
        test: Numbers,
        probabilities: np.ndarray,
        weights: dict[str, np.ndarray],
        held_out_probabilities: np.ndarray | None = None,
    ) -> RunResult:
        """Return the RunResult; `train` and `test` are (loss, accuracy) on all samples with the final weights.

        `probabilities` are those of the test samples; the job's metrics also need those of the held-out samples.
        """
        self._check_finite({"train/loss": train[0], "test/loss": test[0]})
        if self.non_finite:
            return self.diverged(self.non_finite)
        predictions = probabilities.argmax(axis=1).astype(np.uint8)
        metrics = self._metrics((train[0], train[1]), (test[0], test[1]))
        metrics["test/calibration_error"] = calibration_error(probabilities, self.split.test.labels)
        for split, part, given in (
            ("test", self.split.test, probabilities),
            ("val", self.split.held_out, held_out_probabilities),
        ):
            if given is not None:
                extra = extra_metrics.measure(self.job.training.metrics, part.labels, given)
                metrics |= {f"{split}/{name}": value for name, value in extra.items()}
        digests = {"predictions": array_digest(predictions), "final_weights": arrays_digest(weights)}
        result = self._result(FINISHED, None, metrics, digests)
        result.predictions, result.weights = predictions, weights
        result.probabilities = probabilities.astype(np.float32)
        return result

    def _metrics(self, train: Score, test: Score) -> dict[str, float]:
        losses, accuracies = (self.history[f"{self.held_out}/{what}"] for what in ("loss", "accuracy"))
        # The last point of the curve is measured with the final weights, on all held-out samples.
        held_out = losses[-1], accuracies[-1]
        val = held_out if self.held_out == "val" else None
        # Use the same number for both, since another program may round differently.
        test = test if val else held_out
        splits = {"train": train, "test": test} | ({"val": val} if val else {})
        metrics = {
            f"{name}/{what}": score[n] for name, score in splits.items() for n, what in enumerate(("loss", "accuracy"))
        }
        metrics |= final_gaps(train, test, val)
        lowest = int(np.argmin(losses))
        metrics |= {"excess/loss": losses[-1] - losses[lowest], "lowest/epoch": self.epochs[lowest]}
        if val:
            best = int(np.argmax(accuracies))
            metrics |= {"best/epoch": self.epochs[best], "best/val_accuracy": accuracies[best]}
        return metrics

    def unfinished_result(self) -> RunResult | None:
        """Return the RunResult of a run that diverged or was pruned, which has no measurements with its final weights."""
        if self.non_finite:
            return self.diverged(self.non_finite)
        return self._result(PRUNED, f"after epoch {self.trained}", {}, {}) if self.pruned else None

    def diverged(self, reason: str) -> RunResult:
        return self._result(DIVERGED, reason, {}, {})

    def failed(self, error: BaseException) -> RunResult:
        first = (str(error).strip().splitlines() or [""])[0]
        reason = first if isinstance(error, UserError) else f"{type(error).__name__}: {first}"
        return self._result(FAILED, reason[:500], {}, {})

    def _result(self, status: str, reason: str | None, metrics: dict[str, float], digests: dict[str, str]) -> RunResult:
        return RunResult(
            key="",
            job=self.job,
            status=status,
            reason=reason,
            history=self.history,
            epochs=self.epochs,
            metrics=metrics | {"time/train_s": self.train_seconds, "time/epochs": self.trained},
            digests=self.digests | digests,
            started=self.started.isoformat(timespec="milliseconds"),
        )
