"""Runs computed from a formula, not trained, for tests that do not depend on the numbers. Loads no backend."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from pipeline.config.run_config import RunConfig, digest
from pipeline.models import devices
from pipeline.storage import numerics
from pipeline.sweep import publisher
from pipeline.training import trainer
from pipeline.training.outcome import Run
from pipeline.training.result import RunResult
from pipeline.training.splits import Split


def accuracy(job: RunConfig, epoch: int) -> float:
    """Highest at a learning rate of 0.01. Increases with the width, the epoch and, slightly, the seed."""
    away = abs(math.log10(float(job.optimizer["learning_rate"] or 0)) + 2)
    best = 0.9 - 0.2 * away - 0.5 / (job.width or 1) + 0.01 * (job.seed % 9)
    return max(0.1, best) * (1 - 0.5**epoch)


def gap(job: RunConfig) -> float:
    return 0.3 / (job.width or 1)


@dataclass
class Formula:
    """Replaces `pipeline.training.trainer.train`."""

    trained: list[RunConfig] = field(default_factory=list)
    dies_at: int = 0
    """Number of the run that raises KeyboardInterrupt, counted from 1; 0 for none."""
    diverges: Callable[[RunConfig], bool] = lambda job: False
    fails: Callable[[RunConfig], bool] = lambda job: False

    def __call__(
        self,
        jobs: Sequence[RunConfig],
        data: Split,
        classes: int,
        device: Any,
        checkpoints: Any = None,
        prune: trainer.Prune = trainer.never_prune,
    ) -> Iterator[trainer.Event]:
        for index, job in enumerate(jobs):
            self.trained.append(job)
            if len(self.trained) == self.dies_at:
                raise KeyboardInterrupt
            run = Run(index, job, data, prune)
            run.digests["initial_weights"] = digest({"seed": job.seed})
            try:
                yield from self.curve(run)
                yield trainer.Done(index, run.unfinished_result() or measured(run, classes))
            except RuntimeError as error:
                yield trainer.Done(index, run.failed(error), error)

    def curve(self, run: Run) -> Iterator[trainer.Event]:
        if self.fails(run.job):
            raise RuntimeError("no luck today")
        while not run.ended:
            run.note_order(np.arange(run.trained))
            value = accuracy(run.job, run.trained + 1)
            loss = math.nan if self.diverges(run.job) else 1 - value
            point = run.add_epoch([loss, value], [loss, value + gap(run.job), loss, value])
            if point is not None:
                yield point


def measured(run: Run, classes: int) -> RunResult:
    """Make the share of correct predictions match the curve. The weights are a placeholder."""
    value, labels = accuracy(run.job, run.trained), run.split.test.labels
    guesses = np.where(np.arange(len(labels)) < value * len(labels), labels, (labels + 1) % classes)
    share, train = float((guesses == labels).mean()), value + gap(run.job)
    probabilities = np.eye(classes, dtype=np.float32)[guesses]
    return run.finished_result((1 - value, train), (1 - share, share), probabilities, {"none": np.zeros(1)})


def installed(patch: pytest.MonkeyPatch) -> Formula:
    """Replace training by the formula until `patch` is undone. No model is sent to MLflow."""
    made = Formula()
    patch.setattr(trainer, "train", made)
    patch.setattr(devices, "start", lambda device: None)
    patch.setattr(publisher, "send_model", lambda *_: None)
    patch.setattr(numerics, "numerics_class", lambda device: "c" * 64)
    return made
