"""A session trains a sweep or a single run: plan → execute → store → publish → summarize."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import replace
from typing import Any

from pipeline.cli import terminal
from pipeline.cli.errors import UserError
from pipeline.config.run_config import digest
from pipeline.storage import identity
from pipeline.storage.record import UnreadableRun
from pipeline.storage.store import RunStore
from pipeline.storage.sweeps import (
    ENDED,
    RUNNING,
    STOPPED,
    Ledger,
    Sweep,
    lost_tags,
    related,
    tags_of,
    title,
    write_results,
)
from pipeline.sweep import disk_space
from pipeline.sweep.executors.processes import of_this_machine
from pipeline.sweep.executors.shards import Shards
from pipeline.sweep.executors.this_process import ThisProcess
from pipeline.sweep.outcome import Batches, Outcome, best_of, lost_runs
from pipeline.sweep.plan import Plan, PlannedRun, from_project, look_up, store_root, to_train
from pipeline.sweep.pool import Pool, on_this_machine
from pipeline.sweep.progress import Progress, announce, say_lost, say_summary
from pipeline.sweep.publisher import Publisher
from pipeline.sweep.weights import Candidates, store_result, with_weights
from pipeline.tracking import NONE, ParentRun, TrackingUnavailable, open_tracker, system_metrics
from pipeline.tracking.describe import NOTE, origin_tags
from pipeline.training.outcome import Epoch


class Session:
    """The runs of one command and their outcomes so far."""

    def __init__(
        self,
        asked: Plan,
        settings: Mapping[str, Any],
        pool: Pool | None = None,
        batches: Batches | None = None,
        progress: Progress | None = None,
        on_end: Callable[[Outcome], None] = lambda outcome: None,
    ) -> None:
        """Look up and announce the plan. Raises UserError if the disk has too little space.

        `progress` goes on from where earlier plans of the same command left it; `on_end` is told of each run that has ended, also
        of those that are there already.
        """
        identity.environment()  # Cached from here on: somebody may commit or edit while runs train.
        self.settings, self.pool, self.batches, self.on_end = settings, pool, batches, on_end
        self.single = len(asked) == 1 and batches is None
        self.question: str = settings["question"]
        self.id = digest([self.question, *([batches.name] if batches else sorted(run.key for run in asked))])
        self.store = RunStore(store_root(settings["paths"]["runs"]))
        self.ledger = Ledger(self.store)
        self.tracker = open_tracker(settings["tracking"]["kind"], settings["tracking"]["uri"])
        self.tags: dict[str, str] = tags_of(settings["tags"])
        self.described = {NOTE: settings["note"]} if settings["note"] else {}
        self.tracker.origin = self.tags | (self.described if self.single else {}) | self.tracker.origin
        self.candidates = Candidates()
        self.best: Outcome | None = None
        self.unsent: TrackingUnavailable | None = None
        """Why MLflow lacks some results at the end; None if it has all."""
        self.started = time.monotonic()
        self.outcomes = {outcome.run.key: outcome for outcome in (batches.before if batches else ())}
        """Outcomes by requested key, in the order of the plan; without a result until the run has ended."""
        self.publisher = Publisher(self.tracker, self.store, self.question)
        self.add(asked)
        self.added = list(self.outcomes.values())
        """The outcomes of the plan that was added last."""
        self.progress = progress or Progress(batches.total if batches else len(self.outcomes))
        self.tracker.warm()

    def run(self, more: Iterable[Plan] = ()) -> Session:
        """Train the new runs of the plan, then of each plan in `more`, which is requested when the previous one has ended."""
        try:
            self.begin()
            self.train()
            for asked in more:
                self.add(asked)
                self.train()
            self.publish_best()
        except BaseException:
            self.stop()
            raise
        self.end()
        return self

    def add(self, asked: Plan) -> None:
        """Look up and announce the next runs. Raises UserError if the disk has too little space."""
        plan = look_up(asked, self.store, self.settings, self.single)
        self.new = to_train(plan)
        disk_space.check(self.new, self.settings, self.store.root, self.tracker.address.database)
        if self.batches is None:
            announce(plan, self.single, self.settings["force"])
        self.added = [Outcome(run, run.stored) for run in plan]
        self.outcomes |= zip(dict.fromkeys(run.key for run in asked), self.added, strict=True)
        if self.new:
            self.ledger.write(self._record(RUNNING))

    def begin(self) -> None:
        """Start the sweep in MLflow. It takes over the parent run of a sweep that it contains, and joins a larger one."""
        if self.single:
            return
        outcomes = self.outcomes.values()
        count, name = len(outcomes), title([outcome.run.job for outcome in outcomes])
        smaller, larger = related(self.ledger, self.question, {outcome.key for outcome in outcomes})
        if self.batches:
            count, name, smaller, larger = self.batches.total, self.batches.name, [], []
        tags = {"runs": str(count)} | origin_tags(identity.environment()) | self.described
        parent = ParentRun(self.question, name, tags, self.id, contains=smaller, restore=self.settings["force"])
        self.publisher.begin(parent, larger)

    def train(self) -> None:
        """Publish the stored results of the last plan that MLflow lacks, and train the other runs."""
        for outcome in self.added:
            if outcome.result is not None:
                self.progress.there(outcome.result)
                self.publisher.publish(outcome.result, outcome.run.name)
                self.on_end(outcome)
        if not self.new:
            return
        self.progress.add(self.new)
        if self.single:
            self.publisher.show(self.new[0])
        with self._measuring(), closing(self._executor().execute(self.new)) as ended:
            for outcome in ended:
                self.take(outcome)
                if outcome.failed and self.settings["fail_fast"]:
                    break

    def _executor(self) -> ThisProcess | Shards:
        """Return a pool of workers if the launcher has one or one process would leave GPUs or cores idle, else this process."""
        prune = self.batches.prune if self.batches else None
        if prune is None and (pool := self.pool or of_this_machine(self.new, self.settings["device"]["gpus"])):
            data = from_project(self.settings["paths"]["data"])
            return Shards(pool, self.store, data, self.id, self.progress.epoch)
        return ThisProcess(self.store, self.progress.begin, self._on_epoch, prune)

    def _on_epoch(self, run: PlannedRun, point: Epoch) -> None:
        self.progress.epoch(run, point)
        self.publisher.show(run, point.epoch, point.metrics)

    def _measuring(self) -> AbstractContextManager[None]:
        """Sample system metrics while this machine trains a sweep, if `tracking.system_metrics` is set."""
        wanted = self.settings["tracking"]["system_metrics"] and self.tracker.address.kind != NONE
        if wanted and not self.single and on_this_machine(self.new[0].device):
            return system_metrics.sampled(self.publisher.measure)
        return nullcontext()

    def take(self, outcome: Outcome) -> None:
        """Store and publish a run that has ended."""
        stored = store_result(outcome, self.store, None if self.single else self.candidates)
        self.outcomes[stored.run.key] = stored
        if stored.result is not None:
            self.publisher.publish(stored.result, stored.run.name)
        self.on_end(stored)
        if stored.result is not None:
            self.progress.done(stored.run, stored.result)

    def publish_best(self) -> None:
        """Keep and publish the weights of the best run, by default the one with the highest validation accuracy."""
        self.best = self.best or best_of(self.outcomes.values())
        if self.best is not None and (result := with_weights(self.best, self.candidates, self.store)):
            self.best = replace(self.best, result=result)
            if result.weights is not None:
                all_of_it = [outcome.result for outcome in self.outcomes.values() if outcome.result]
                self.publisher.publish_best(self.best.run, result, all_of_it)

    def stop(self) -> None:
        """After a signal: publish the results on disk that are not yet published, then record and print the lost runs."""
        for asked, outcome in self.outcomes.items():
            if outcome.key not in self.publisher.handed and not self.settings["force"]:
                with suppress(KeyError, UnreadableRun, OSError):
                    result = self.store.read(outcome.key)
                    self.outcomes[asked] = replace(outcome, result=result)
                    self.publisher.publish(result, outcome.run.name)
        with suppress(UserError):  # a full disk, which ended the command
            self.ledger.write(self._record(STOPPED))
        say_lost(self.outcomes.values())
        if missing := self._close("KILLED"):
            print(f"warning: {missing}", file=sys.stderr)

    def end(self) -> None:
        """Write the record of the sweep and its folder of results, and print the summary."""
        missing = self._close("FAILED" if any(outcome.failed for outcome in self.outcomes.values()) else "FINISHED")
        sweep = self._record(ENDED)
        if self.single and not (sweep.lost or sweep.tags or sweep.note):
            self.ledger.remove(self.id)  # the folder of a single run that finished says it all
        else:
            self.ledger.write(sweep)
        if results := self.settings["paths"]["results"]:
            write_results(self.store, sweep, from_project(results))
        seconds = time.monotonic() - self.started
        say_summary(self.outcomes.values(), self.best, self.single, seconds)
        if self.publisher.stopped:
            raise self.publisher.stopped
        self.unsent = TrackingUnavailable(missing) if missing else None

    def _close(self, status: str) -> str | None:
        """End the sweep in MLflow with its lost runs and their commands. Return a sentence on what MLflow lacks, or None."""
        if self.tracker.address.kind != NONE:
            terminal.show("sending results to MLflow")
        return self.publisher.close(status, lost_tags(lost_runs(self.outcomes.values())))

    def _record(self, status: str) -> Sweep:
        """Return the record of the sweep so far. In the last record, a run without a result was interrupted."""
        return Sweep(
            name=self.question,
            keys=list(dict.fromkeys(run.key for run in self.outcomes.values() if run.result is not None)),
            winner=self.best.key if self.best else None,
            lost=lost_runs(self.outcomes.values()),
            parent_run_id=self.publisher.under,
            id=self.id,
            status=status,
            tags=self.tags,
            note=self.settings["note"] or "",
        )
