"""Console output of a command that trains: the plan, a bar or a line per run, and the summary."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pipeline.cli import terminal
from pipeline.cli.formatting import duration, percent
from pipeline.cli.terminal import say
from pipeline.config.run_config import RunConfig
from pipeline.sweep import estimate
from pipeline.sweep.outcome import Outcome, lost_runs
from pipeline.sweep.plan import Plan, PlannedRun, counts, to_train
from pipeline.training.outcome import Epoch
from pipeline.training.result import FAILED, FINISHED, RunResult

REDRAW_SECONDS = 0.2


def announce(plan: Plan, single: bool, force: bool) -> None:
    """Print what is stored, and what will be trained on which device."""
    new, run = to_train(plan), plan[0]
    if not single:
        all_new = counts(plan) == f"{len(plan)} new"
        training = "" if all_new else f"; {len(new) or 'nothing'} to train"
        say(f"{len(plan)} run{'s' if len(plan) > 1 else ''}: {counts(plan)}{training}")
    elif run.stored is not None:
        again = "" if run.stored.finished else f"; retry={run.stored.status} trains it again"
        say(f"{run.job.name} is {run.stored.status} already: {run.key[:12]}{again}")
    elif run.found == FINISHED and not force:
        say(f"{run.job.name} is there already: {run.key[:12]}; trained again for its weights")
    for device in dict.fromkeys(str(run.device) for run in new):
        say(f"on {device}")


def summary(result: RunResult, name: str) -> str:
    """Return a run in one line, under its name in the plan."""
    if not result.finished:
        return f"{name} {result.status}: {result.reason}"
    f = result.metrics
    validation = f"validation {percent(f['val/accuracy'])}, " if "val/accuracy" in f else ""
    return (
        f"{name}: {validation}test {percent(f['test/accuracy'])}, "
        f"gap {100 * f['overfitting_gap/accuracy']:.2f} points, {f['time/train_s']:.1f} s"
    )


@dataclass
class Open:
    """The runs of one configuration that have not ended."""

    job: RunConfig
    work: float
    """Work of an epoch."""
    count: int = 0


class Progress:
    """Progress of a command: ended runs, time left, the last point of a curve."""

    def __init__(self, total: int) -> None:
        self.total, self.ended = total, 0
        self.needed: dict[str, list[float]] = {}
        """Epochs of finished runs, by configuration."""
        self._open: dict[str, Open] = {}
        """Open runs by configuration, since they are summed several times a second and may be ten thousand."""
        self._training: dict[str, tuple[Open, int]] = {}
        """The last reported epoch of each run that trains in this process."""
        self._work_done, self._started, self._drawn = 0.0, time.monotonic(), 0.0

    def there(self, result: RunResult) -> None:
        """Count a run that has ended, and record how many epochs its configuration needs."""
        self.ended += 1
        if result.finished:
            self.needed.setdefault(result.job.configuration, []).append(estimate.trained(result))

    def add(self, runs: Sequence[PlannedRun]) -> None:
        """Add the runs that train next."""
        if not sys.stdout.isatty() and self.total > 1 and not self._open:
            print("loading libraries and compiling; then a line for each run", flush=True)
        for run in runs:
            self._open.setdefault(run.job.configuration, Open(run.job, estimate.work_of(run))).count += 1
        self._draw("loading libraries and compiling")

    def begin(self) -> None:
        """Start measuring time, when the libraries are loaded."""
        if not self._work_done:
            self._started = time.monotonic()

    @property
    def left(self) -> str:
        """Return `3:20 min left`, at the pace so far; empty before the first epoch and after the last."""
        if not self._work_done or not (ahead := self._work_ahead()):
            return ""
        open_ = [each for each in self._open.values() if each.count]
        most = "at most " * any(estimate.may_end_sooner(each.job, self.needed) for each in open_)
        return f"{most}{duration((time.monotonic() - self._started) * ahead / self._work_done)} left"

    def _work_ahead(self) -> float:
        """Return the work left, with an estimate for runs that are not planned yet."""
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
        """Count the epochs of a run since its last report."""
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


def say_lost(outcomes: Collection[Outcome]) -> None:
    """Print each lost run with its reason and command; of interrupted runs, only the first."""
    cut_off = [outcome for outcome in outcomes if outcome.result is None and not outcome.reason]
    for lost in lost_runs([outcome for outcome in outcomes if outcome.result or outcome.reason]):
        say(f"{lost.name} {lost.status}: {lost.reason}")
        print(f"  again: {lost.command}", flush=True)
    if cut_off:
        runs, them = (f"{len(cut_off)} runs were", "them") if len(cut_off) > 1 else ("1 run was", "it")
        named = f"{cut_off[0].run.name}{' …' if len(cut_off) > 1 else ''}"
        say(f"{runs} not trained to the end ({named}); the same command trains {them}")


def say_summary(outcomes: Collection[Outcome], best: Outcome | None, single: bool, seconds: float) -> None:
    """Print the last lines of a command."""
    if single:
        [outcome] = outcomes
        if outcome.result is not None and outcome.finished:
            say(summary(outcome.result, outcome.run.name))
        elif (lost := outcome.lost()).status != FAILED:
            say(f"{lost.name} {lost.status}: {lost.reason}")
        return
    say_lost(outcomes)
    finished, pruned = (sum(getattr(outcome, what) for outcome in outcomes) for what in ("finished", "pruned"))
    also = f", {pruned} were pruned" if pruned else ""
    say(f"{finished} of {len(outcomes)} runs finished{also} in {duration(seconds)}")
    if best is not None and best.result is not None and "val/accuracy" in best.result.metrics:
        say(f"best on the validation split: {best.run.name}, {percent(best.result.metrics['val/accuracy'])}")
