"""What a person sees while runs train: a bar on a terminal, a line for each run elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.cli import terminal
from pipeline.cli.formatting import duration, percent
from pipeline.config.run_config import RunConfig
from pipeline.sweep import estimate
from pipeline.sweep.messages import summary
from pipeline.sweep.plan import PlannedRun
from pipeline.training.outcome import Epoch
from pipeline.training.result import RunResult

REDRAW_SECONDS = 0.2


@dataclass
class Open:
    """Runs of one configuration that have not ended."""

    job: RunConfig
    work: float
    """Of an epoch."""
    count: int = 0


class Progress:
    """The runs of one command: how many have ended, the time left, the last point of a curve."""

    def __init__(self, total: int) -> None:
        self.total, self.ended = total, 0
        self.needed: dict[str, list[float]] = {}
        """Epochs that finished runs trained, by configuration."""
        self._open: dict[str, Open] = {}
        """By configuration: there may be ten thousand runs, and these are summed up some times a second."""
        self._training: dict[str, tuple[Open, int]] = {}
        """Of each run in training the last epoch that was shown: of none that another process trains."""
        self._work_done, self._started, self._drawn = 0.0, time.monotonic(), 0.0

    def there(self, result: RunResult) -> None:
        """Count a run that has ended, and learn how many epochs its configuration needs."""
        self.ended += 1
        if result.finished:
            self.needed.setdefault(result.job.configuration, []).append(estimate.trained(result))

    def add(self, runs: Sequence[PlannedRun]) -> None:
        """Runs that train next."""
        if not sys.stdout.isatty() and self.total > 1 and not self._open:
            print("loading libraries and compiling; then a line for each run", flush=True)
        for run in runs:
            self._open.setdefault(run.job.configuration, Open(run.job, estimate.work_of(run))).count += 1
        self._draw("loading libraries and compiling")

    def begin(self) -> None:
        """Start the clock of the time left, when the libraries are loaded."""
        if not self._work_done:
            self._started = time.monotonic()

    @property
    def left(self) -> str:
        """`3:20 min left`, by the pace so far; empty before the first epoch and after the last."""
        if not self._work_done or not (ahead := self._work_ahead()):
            return ""
        open_ = [each for each in self._open.values() if each.count]
        most = "at most " * any(estimate.may_end_sooner(each.job, self.needed) for each in open_)
        return f"{most}{duration((time.monotonic() - self._started) * ahead / self._work_done)} left"

    def _work_ahead(self) -> float:
        """That of the runs that are not known yet is taken to be like that of the others."""
        if not (count := sum(each.count for each in self._open.values())):
            return 0.0
        ahead = sum(each.count * self._epochs(each) * each.work for each in self._open.values())
        ahead -= sum(min(epoch, self._epochs(each) - 1) * each.work for each, epoch in self._training.values())
        return ahead * (self.total - self.ended) / count

    def _epochs(self, each: Open) -> float:
        return estimate.epochs(each.job, self.needed)

    def epoch(self, run: PlannedRun, point: Epoch) -> None:
        each = self._shown(run, point.epoch)
        self._training[run.key] = each, point.epoch
        metrics, place = point.metrics, f"epoch {point.epoch}/{run.job.training.epochs}"
        name, key = ("validation", "val/accuracy") if "val/accuracy" in metrics else ("test", "test/accuracy")
        held_out = f"{name} {percent(metrics[key])}"
        if self.total == 1:
            print(
                f"{place}  loss {metrics['running/loss']:.4f}  training {percent(metrics['train/accuracy'])}  "
                f"{held_out}  gap {100 * metrics['gap/accuracy']:.2f} points",
                flush=True,
            )
        if time.monotonic() - self._drawn > REDRAW_SECONDS:
            self._draw(f"{run.name}, {place}, {held_out}")

    def done(self, run: PlannedRun, result: RunResult) -> None:
        self._shown(run, estimate.trained(result)).count -= 1
        self._training.pop(run.key, None)
        self.there(result)
        if self.total == 1:
            return
        line = summary(result, run.name)
        if not sys.stdout.isatty():
            print(", ".join(filter(None, (f"[{self.ended}/{self.total}] {line}", self.left))), flush=True)
        elif not result.finished:
            print(line, flush=True)
        self._draw(run.name)

    def _shown(self, run: PlannedRun, epoch: float) -> Open:
        """Count what the run has trained since it was shown last."""
        each = self._open[run.job.configuration]
        before = self._training[run.key][1] if run.key in self._training else 0
        self._work_done += (epoch - before) * each.work
        return each

    def _draw(self, now: str) -> None:
        if not sys.stdout.isatty():
            return
        self._drawn = time.monotonic()
        total = self._work_done + self._work_ahead() if self._work_done else None
        count = f"{self.ended}/{self.total} runs" if self.total > 1 else ""
        terminal.show("  ".join(filter(None, (self.left, now))), self._work_done, total, count)
