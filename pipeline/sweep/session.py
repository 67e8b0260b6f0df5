"""The way of a sweep: plan → execute → store → publish → summarize. A single run goes the same way.

`opened` begins and ends a session, and `Session.train` executes. If a multirun hands over its runs in several batches, the
session lasts from the first batch to the last, and `add` and `train` are called for each.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.cli.errors import UserError
from pipeline.config.run_config import digest
from pipeline.storage import identity
from pipeline.storage.record import UnreadableRun
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import ENDED, RUNNING, STOPPED, Ledger, Sweep, lost_tags, related, title, write_results
from pipeline.sweep import disk_space, messages
from pipeline.sweep.executors.choose import choose_executor
from pipeline.sweep.executors.this_process import ThisProcess
from pipeline.sweep.outcome import Outcome, best_of, lost_runs, without_weights
from pipeline.sweep.plan import Plan, PlannedRun, from_project, look_up, store_root, to_train
from pipeline.sweep.pool import Pool
from pipeline.sweep.progress import Progress
from pipeline.sweep.publisher import Publisher
from pipeline.sweep.weights import Candidates, with_weights
from pipeline.tracking import ParentRun, Tracker, TrackingUnavailable, open_tracker
from pipeline.tracking.describe import origin_tags
from pipeline.training.outcome import Epoch


@contextmanager
def opened(
    plan: Plan, settings: Mapping[str, Any], pool: Pool | None = None, words: Sequence[str] | None = None
) -> Iterator[Session]:
    """A session with `plan` as its first batch. `words`: those of the command, if more batches may follow.

    Raises UserError, before anything is trained, if there is no room; and TrackingUnavailable, when all else is done, if
    MLflow did not take everything.
    """
    identity.environment()  # Cached from here on: somebody may commit or edit while runs train.
    session = Session(plan, settings, pool, words)
    status, best = "KILLED", None
    try:
        session.begin()
        yield session
        best = session.publish_best()
        status = "FAILED" if any(outcome.failed for outcome in session.outcomes) else "FINISHED"
    except BaseException:
        session.keep()
        raise
    finally:
        session.tag_lost()
        missing = session.publisher.close(status)
        if missing and status == "KILLED":
            print(f"warning: {missing}", file=sys.stderr)
    session.summarize(best)
    if session.publisher.stopped:
        raise session.publisher.stopped
    if missing:
        raise TrackingUnavailable(missing)


class Session:
    """One command's runs and what has become of them so far."""

    def __init__(self, plan: Plan, settings: Mapping[str, Any], pool: Pool | None, words: Sequence[str] | None) -> None:
        """Look up and announce the first batch; raises UserError if there is no room for it."""
        self.settings, self.pool, self.in_batches = settings, pool, words is not None
        self.single = len(plan) == 1 and not self.in_batches
        self.question: str = settings["question"]
        # The keys of later batches are not known yet, but the same command has the same words.
        self.id = digest([self.question, *sorted(run.key for run in plan), *(words or ())])
        self.store = RunStore(store_root(settings["paths"]["runs"]))
        self.ledger = Ledger(self.store)
        self.tracker: Tracker = open_tracker(settings["tracking"]["kind"], settings["tracking"]["uri"])
        self.candidates = Candidates()
        self.outcomes: list[Outcome] = []
        """Of every run so far, in the order of the plan; without a result until the run has ended."""
        self.batch = 0
        """The position of the first run that was added last."""
        self.started = time.monotonic()
        self._prepare(plan, None)
        self.tracker.warm()
        self.publisher = Publisher(self.tracker, self.store, self.question)

    def begin(self) -> None:
        """Start the sweep in MLflow. It continues smaller sweeps that it contains; its runs stand under a larger one."""
        if self.single:
            return
        smaller, larger = related(self.ledger, self.question, {outcome.key for outcome in self.outcomes})
        tags = {"runs": str(len(self.outcomes))} | origin_tags(identity.environment())
        restore = self.settings["force"]
        parent = ParentRun(self.question, self._title(), tags, self.id, contains=smaller, restore=restore)
        self.publisher.begin(parent, larger)

    def _title(self) -> str:
        return title([outcome.run.job for outcome in self.outcomes])

    def add(self, plan: Plan) -> None:
        """Look up and announce the next batch; raises UserError if there is no room for it."""
        self._prepare(plan, self.publisher.parent)

    def _prepare(self, plan: Plan, parent: str | None) -> None:
        """Look up the runs of `plan`, announce them and note those that are to be trained."""
        before = [outcome.result for outcome in self.outcomes if outcome.result is not None]
        plan = look_up(plan, self.store, self.settings, self.single, before)
        new = to_train(plan)
        disk_space.check(new, self._places())
        messages.announce(plan, self.single, self.settings["force"])
        self.batch = len(self.outcomes)
        self.outcomes += [Outcome(run, run.stored) for run in plan]
        if new:
            self.ledger.write(self._record(RUNNING, parent))

    def _places(self) -> dict[str, Path]:
        """Where this command writes, by the key of the configuration."""
        places = {"paths.runs": self.store.root}
        if results := self.settings["paths"]["results"]:
            places["paths.results"] = from_project(results)
        if database := self.tracker.address.database:
            places["tracking"] = database.parent
        return places

    def train(self) -> Generator[tuple[int, Outcome]]:
        """Execute the batch that was added last; store and publish each run, and yield its position in the batch."""
        positions: dict[str, list[int]] = {}
        for position, outcome in enumerate(self.outcomes[self.batch :]):
            if outcome.result is None:
                positions.setdefault(outcome.key, []).append(position)
            else:
                self.publisher.publish(outcome.result)
                yield position, outcome
        new = [self.outcomes[self.batch + same[0]].run for same in positions.values()]
        if not new:
            return
        with Progress([run.job for run in new]) as progress, closing(self._execute(new, progress)) as ended:
            for outcome in ended:
                stored, same = self._store(outcome), positions[outcome.run.key]
                for position in same:  # a run that is asked for twice is trained once
                    run = self.outcomes[self.batch + position].run
                    own = replace(stored, run=run, trained=stored.trained and position == same[0])
                    self.outcomes[self.batch + position] = own
                if stored.result is not None:
                    self.publisher.publish(stored.result)
                    progress.done(stored.result)
                yield from ((position, self.outcomes[self.batch + position]) for position in same)

    def _execute(self, runs: Sequence[PlannedRun], progress: Progress) -> Generator[Outcome]:
        def on_epoch(run: PlannedRun, epoch: Epoch) -> None:
            progress.epoch(run.job, epoch.epoch, epoch.metrics)
            self.publisher.show(run, epoch.epoch, epoch.metrics)

        this_process = ThisProcess(progress.begin, on_epoch)
        executor = choose_executor(runs, self.settings, self.pool, self.store, self.id, this_process)
        if executor is this_process and len(runs) == 1:
            self.publisher.show(runs[0])
        yield from executor.execute(runs)

    def _store(self, outcome: Outcome) -> Outcome:
        """Put a result on disk; of a sweep, without its weights, which are kept of the best run alone."""
        result = outcome.result
        if result is None or outcome.on_disk:
            return outcome
        if result.finished and not self.single:
            self.candidates.add(result)
            result = without_weights(result)
        self.store.write(result)
        return replace(outcome, result=result)

    def publish_best(self) -> Outcome | None:
        """Keep and publish the weights of the best run; drop those that workers left of others."""
        best = best_of(self.outcomes)
        if best is not None and (result := with_weights(best, self.candidates, self.store)):
            best = replace(best, result=result)
            if result.weights is not None:
                self.publisher.publish_best(best.run, result)
        for outcome in self.outcomes:
            if outcome.on_disk and (best is None or outcome.key != best.key):
                self.store.drop_weights(outcome.key)
        return best

    def keep(self) -> None:
        """Publish what is on disk, as far as a signal came between the two, and note and say what is lost."""
        self._publish_stored()
        with suppress(UserError):  # a full disk, which ended the command
            self.ledger.write(self._record(STOPPED, self.publisher.under))
        messages.say_lost(self.outcomes)

    def _publish_stored(self) -> None:
        for position, outcome in enumerate(self.outcomes):
            if outcome.key not in self.publisher.handed and not self.settings["force"]:
                with suppress(KeyError, UnreadableRun, OSError):
                    result = self.store.read(outcome.key)
                    self.outcomes[position] = replace(outcome, result=result)
                    self.publisher.publish(result)

    def tag_lost(self) -> None:
        """Note on the sweep's parent run which runs are lost, why, and the commands that train them again."""
        tags = lost_tags(lost_runs(self.outcomes))
        if self.in_batches:  # it has grown since it began
            tags |= {"runs": str(len(self.outcomes)), "mlflow.runName": self._title()}
        self.publisher.tag_sweep(tags)

    def summarize(self, best: Outcome | None) -> None:
        """Write the sweep's record and the folder of results, and print the last lines."""
        sweep = self._record(ENDED, self.publisher.under, best.key if best else None)
        before = self.ledger.get(self.id)
        if before is not None and not sweep.trained:
            # What the training took is known from the command that did it, and of use to the next estimate.
            kept = ("trained", "train_seconds", "peak_memory_mb", "machine", "workers", "seconds")
            sweep = replace(sweep, **{name: getattr(before, name) for name in kept})
        if self.single and not sweep.lost:
            self.ledger.remove(self.id)  # the folder of a single run that finished says it all
        else:
            self.ledger.write(sweep)
        if results := self.settings["paths"]["results"]:
            write_results(self.store, sweep, from_project(results))
        messages.say_summary(self.outcomes, best, self.single, time.monotonic() - self.started)

    def _record(self, status: str, parent: str | None, best: str | None = None) -> Sweep:
        """The sweep as it stands; a run without a result was interrupted, if no later record follows."""
        trained = [outcome.result for outcome in self.outcomes if outcome.trained and outcome.result is not None]
        return Sweep(
            name=self.question,
            keys=list(dict.fromkeys(outcome.key for outcome in self.outcomes if outcome.result is not None)),
            winner=best,
            lost=lost_runs(self.outcomes),
            parent_run_id=parent,
            seconds=time.monotonic() - self.started,
            id=self.id,
            status=status,
            trained=len(trained),
            train_seconds=sum(result.figures.get("time/train_s", 0.0) for result in trained),
            peak_memory_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            # What workers took elsewhere, including the wait in a queue, predicts nothing of this machine.
            machine="" if self.pool or any(outcome.on_disk for outcome in self.outcomes) else identity.machine(),
            workers=self.outcomes[0].run.device.workers,
        )
