"""What a person sees while runs train: a bar on a terminal, a line per run elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from pipeline.cli.formatting import duration, percent
from pipeline.config.run_config import RunConfig
from pipeline.sweep.messages import summary
from pipeline.training.result import RunResult


def effort(job: RunConfig) -> float:
    """What an epoch of this job takes, in no unit: the widest come first, so counting epochs would promise too little."""
    return sum(job.hidden) + 60


class Progress:
    """Shows the run, its epoch, its held-out accuracy and the time left."""

    def __init__(
        self,
        jobs: Sequence[RunConfig],
        names: Mapping[RunConfig, str] | None = None,
        total: int = 0,
        before: int = 0,
    ) -> None:
        """`names` are those that the plan of these jobs gives them.

        `total`, if these jobs are not all: how many there are, and how many of them ended `before` these.
        """
        self.jobs, self.names = jobs, {job: job.name for job in jobs} | dict(names or {})
        self.total, self.before = total or len(jobs), before
        self.work = sum(job.training.epochs * effort(job) for job in jobs)
        self.work_done = 0.0
        self.runs_done = before
        self.started = time.monotonic()
        self.bar: Any = None
        self._epochs: Counter[RunConfig] = Counter()
        """The last epoch of each job that was shown: none of those that other processes train."""

    def __enter__(self) -> Progress:
        if self.total > 1 and sys.stdout.isatty():
            from rich import progress

            text = progress.TextColumn("{task.fields[runs]}"), progress.TextColumn("{task.fields[now]}")
            self.bar = progress.Progress(text[0], progress.BarColumn(bar_width=24), text[1], transient=True)
            self.bar.start()
            self.task = self.bar.add_task("", total=self.work, runs=f"{self.before}/{self.total} runs", now="starting")
        elif self.total > 1 and not self.before:
            print("loading libraries and compiling; then a line for each run", flush=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    @property
    def left(self) -> str:
        if not self.work_done or self.total > self.before + len(self.jobs):
            return ""
        return f"{duration((time.monotonic() - self.started) * (self.work - self.work_done) / self.work_done)} left"

    def begin(self) -> None:
        """Start the clock of the time left, when the libraries are loaded."""
        self.started = time.monotonic()

    def epoch(self, job: RunConfig, epoch: int, metrics: dict[str, float]) -> None:
        self.work_done += (epoch - self._epochs[job]) * effort(job)
        self._epochs[job] = epoch
        name, key = ("validation", "val/accuracy") if "val/accuracy" in metrics else ("test", "test/accuracy")
        place, held_out = f"epoch {epoch}/{job.training.epochs}", f"{name} {percent(metrics[key])}"
        if self.total == 1:
            print(
                f"{place}  loss {metrics['running/loss']:.4f}  training {percent(metrics['train/accuracy'])}  "
                f"{held_out}  gap {100 * metrics['gap/accuracy']:.2f} points",
                flush=True,
            )
        elif self.bar is not None:
            now = f"{self.names[job]} {place}, {held_out}, {self.left}"
            self.bar.update(self.task, completed=self.work_done, now=now)

    def done(self, result: RunResult) -> None:
        self.runs_done += 1
        trained = int(result.figures.get("time/epochs", result.epochs[-1] if result.epochs else 0))
        self.work_done += (trained - self._epochs[result.job]) * effort(result.job)
        # A run that ended early gives back the epochs that it did not need.
        self.work -= (result.job.training.epochs - trained) * effort(result.job)
        if self.total == 1:
            return
        end = f", {self.left}" if self.left and self.runs_done < self.total else ""
        if self.bar is None:
            print(f"[{self.runs_done}/{self.total}] {summary(result, self.names[result.job])}{end}", flush=True)
            return
        runs, now = f"{self.runs_done}/{self.total} runs", f"{self.names[result.job]}{end}"
        self.bar.update(self.task, total=self.work, completed=self.work_done, runs=runs, now=now)
        if not result.finished:
            self.bar.console.print(summary(result, self.names[result.job]), highlight=False, markup=False)
