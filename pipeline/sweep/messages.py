"""What a command that trains says: before the first run, of each run, and at the end."""

from __future__ import annotations

import logging
from collections.abc import Collection

from pipeline.cli.errors import RunFailed
from pipeline.cli.formatting import duration, percent
from pipeline.cli.terminal import say
from pipeline.sweep.outcome import INTERRUPTED, Outcome, lost_runs
from pipeline.sweep.plan import Plan, counts, to_train
from pipeline.training.result import FAILED, FINISHED, RunResult

log = logging.getLogger("pipeline.train")


def announce(plan: Plan, single: bool, force: bool) -> None:
    """What is there already, and what will be trained on which device."""
    new, run = to_train(plan), plan[0]
    if not single:
        all_new = len(new) == len(plan) and counts(plan) == f"{len(plan)} new"
        training = "" if all_new else f"; {len(new) or 'nothing'} to train"
        say(f"{len(plan)} run{'s' if len(plan) > 1 else ''}: {counts(plan)}{training}")
    elif run.stored is not None:
        again = "" if run.stored.finished else f"; retry={run.stored.status} trains it again"
        say(f"{run.job.name} is {run.stored.status} already: {run.key[:12]}{again}")
    elif run.found == FINISHED and not force:
        say(f"{run.job.name} is there already: {run.key[:12]}; trained again for its weights")
    for device in dict.fromkeys(str(run.device) for run in new):
        say(f"on {device}")


def summary(result: RunResult, name: str = "") -> str:
    """One run in one line, by the name that its plan gives it."""
    name = name or result.name
    if not result.finished:
        return f"{name} {result.status}: {result.reason}"
    f = result.figures
    validation = f"validation {percent(f['val/accuracy'])}, " if "val/accuracy" in f else ""
    return (
        f"{name}: {validation}test {percent(f['test/accuracy'])}, "
        f"gap {100 * f['overfitting_gap/accuracy']:.2f} points, {f['time/train_s']:.1f} s"
    )


def log_run(outcome: Outcome) -> None:
    """Write a run's epochs and end to the log of the command. Raises RunFailed if the run has no result or failed."""
    run, result = outcome.run, outcome.result
    if result is None:
        line = f"{run.name} {INTERRUPTED}: {outcome.lost().reason}; again: {run.command}"
        log.error(line)
        raise RunFailed(line)
    log.info("%s, key %s", run.name, result.key)
    for point, epoch in enumerate(result.epochs):
        log.info(
            "epoch %d: %s", epoch, ", ".join(f"{name} {values[point]:.6g}" for name, values in result.history.items())
        )
    if result.status == FAILED:
        log.error("%s failed", run.name, exc_info=outcome.error)
        raise RunFailed(f"{run.name} failed: {result.reason}; again: {run.command}")
    if result.finished:
        log.info(summary(result, run.name))
    else:
        log.warning("%s diverged: %s", run.name, result.reason)


def say_lost(outcomes: Collection[Outcome]) -> None:
    """Each lost run, its reason and the command that trains it again; of those that were interrupted, the first."""
    cut_off = [outcome for outcome in outcomes if outcome.result is None and not outcome.reason]
    keys = {outcome.key for outcome in cut_off}
    for lost in lost_runs(outcomes):
        if lost.key not in keys:
            say(f"{lost.name} {lost.status}: {lost.reason}")
            print(f"  again: {lost.command}", flush=True)
    if cut_off:
        runs, them = (f"{len(cut_off)} runs were", "them") if len(cut_off) > 1 else ("1 run was", "it")
        named = f"{cut_off[0].run.name}{' …' if len(cut_off) > 1 else ''}"
        say(f"{runs} not trained to the end ({named}); the same command trains {them}")


def say_summary(outcomes: Collection[Outcome], best: Outcome | None, single: bool, seconds: float) -> None:
    """The last lines of a command that ended."""
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
    if best is not None and best.result is not None and "val/accuracy" in best.result.figures:
        say(f"best on the validation split: {best.run.name}, {percent(best.result.figures['val/accuracy'])}")
