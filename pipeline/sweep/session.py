"""The way of a sweep: plan → execute → store → publish → summarize. A single run goes the same way."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing, nullcontext, suppress
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
from pipeline.sweep import disk_space, messages
from pipeline.sweep.executors.processes import for_cores, for_gpus
from pipeline.sweep.executors.shards import Shards
from pipeline.sweep.executors.this_process import ThisProcess
from pipeline.sweep.outcome import Batches, Outcome, best_of, lost_runs
from pipeline.sweep.plan import Plan, PlannedRun, from_project, look_up, store_root, to_train, total_memory
from pipeline.sweep.pool import Pool, on_this_machine
from pipeline.sweep.progress import Progress
from pipeline.sweep.publisher import Publisher
from pipeline.sweep.weights import Candidates, store_result, with_weights
from pipeline.tracking import NONE, ParentRun, TrackingUnavailable, open_tracker, system_metrics
from pipeline.tracking.describe import NOTE, origin_tags
from pipeline.training.outcome import Epoch


def train(
    asked: Plan, settings: Mapping[str, Any], pool: Pool | None = None, progress: Progress | None = None
) -> Generator[tuple[int, Outcome]]:
    """Train what is new of a plan; yields each position in it with its outcome, as runs end.

    `progress` goes on from where earlier plans of the same command left it.
    Raises UserError, before anything is trained, if there is no room; and TrackingUnavailable, when all else is done, if
    MLflow did not take everything.
    """
    yield from Session(asked, settings, pool, progress=progress).run()


class Session:
    """One command's runs and what has become of them so far."""

    def __init__(
        self,
        asked: Plan,
        settings: Mapping[str, Any],
        pool: Pool | None = None,
        batches: Batches | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Look up and announce the plan; raises UserError if there is no room for it."""
        identity.environment()  # Cached from here on: somebody may commit or edit while runs train.
        self.settings, self.pool, self.batches = settings, pool, batches
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
        self.started = time.monotonic()
        self.outcomes: list[Outcome] = list(batches.before) if batches else []
        """Of every run, in the order of the plan; without a result until the run has ended."""
        self.publisher = Publisher(self.tracker, self.store, self.question)
        self.add(asked)
        self.first = 0
        """Of the outcomes, the first one that was added last; to begin with, all of them."""
        self.progress = progress or Progress(batches.total if batches else len(self.new))
        self.tracker.warm()

    def run(self, more: Iterable[Plan] = ()) -> Generator[tuple[int, Outcome]]:
        """Train what is new of the plan, and of `more` plans, each asked for when the one before has ended: see `train`."""
        try:
            self.begin()
            yield from self.train()
            for asked in more:
                self.add(asked)
                yield from self.train()
            self.publish_best()
        except BaseException:
            self.stop()
            raise
        self.end()

    def train(self) -> Generator[tuple[int, Outcome]]:
        """The outcomes of what was added last."""
        yield from self.stored()
        with closing(self.execute()) as ended:
            for outcome in ended:
                yield from self.take(outcome)
                if outcome.failed and self.settings["fail_fast"]:
                    break

    def add(self, asked: Plan) -> None:
        """Look up and announce runs that are to be trained next; raises UserError if there is no room for them."""
        plan = look_up(asked, self.store, self.settings, self.single)
        self.new = to_train(plan)
        disk_space.check(self.new, self.settings, self.store.root, self.tracker.address.database)
        if self.batches is None:
            messages.announce(plan, self.single, self.settings["force"])
        self.positions: dict[str, list[int]] = {}
        """Of the new runs, by key: a run that is asked for twice is trained once."""
        for position, run in enumerate(plan, start=len(self.outcomes)):
            if run.stored is None:
                self.positions.setdefault(run.key, []).append(position)
        self.first = len(self.outcomes)
        self.outcomes += [Outcome(run, run.stored) for run in plan]
        if self.new:
            self.ledger.write(self._record(RUNNING))

    def begin(self) -> None:
        """Start the sweep in MLflow. It continues smaller sweeps that it contains; its runs stand under a larger one."""
        if self.single:
            return
        count, name = len(self.outcomes), title([outcome.run.job for outcome in self.outcomes])
        smaller, larger = related(self.ledger, self.question, {outcome.key for outcome in self.outcomes})
        if self.batches:
            count, name, smaller, larger = self.batches.total, self.batches.name, [], []
        tags = {"runs": str(count)} | origin_tags(identity.environment()) | self.described
        parent = ParentRun(self.question, name, tags, self.id, contains=smaller, restore=self.settings["force"])
        self.publisher.begin(parent, larger)

    def stored(self) -> Generator[tuple[int, Outcome]]:
        """Publish what is there already, as far as MLflow lacks it."""
        for position, outcome in enumerate(self.outcomes[self.first :], start=self.first):
            if outcome.result is not None:
                self.progress.know(outcome.result)
                self.publisher.publish(outcome.result, outcome.run.name)
                yield position, outcome

    def execute(self) -> Generator[Outcome]:
        """Train the new runs, with what a person sees meanwhile."""
        if not self.new:
            return
        if self.batches:
            self.progress.ended = sum(each.result is not None for each in self.outcomes)
        self.progress.add(self.new)

        def on_epoch(run: PlannedRun, point: Epoch) -> None:
            self.progress.epoch(run, point)
            self.publisher.show(run, point.epoch, point.metrics)

        prune = self.batches.prune if self.batches else None
        this_process = ThisProcess(self.store, self.progress.begin, on_epoch, prune)
        elsewhere = self._elsewhere() if prune is None else None
        if self.single and elsewhere is None:
            self.publisher.show(self.new[0])
        executor = elsewhere or this_process
        wanted = self.settings["tracking"]["system_metrics"] and self.tracker.address.kind != NONE
        measured = wanted and not self.single and on_this_machine(self.new[0].device)
        measuring = system_metrics.sampled(self.publisher.measure) if measured else nullcontext()
        with measuring, closing(executor.execute(self.new)) as ended:
            for outcome in ended:
                yield outcome
                if outcome.result is not None:
                    self.progress.done(outcome.run, outcome.result)

    def _elsewhere(self) -> Shards | None:
        """Workers, if the launcher has a pool of them, or if one process would leave GPUs or cores idle."""
        gpus = self.settings["device"]["gpus"]
        pool = self.pool or for_gpus(self.new, gpus) or for_cores(self.new, total_memory())
        if not pool:
            return None
        return Shards(pool, self.store, from_project(self.settings["paths"]["data"]), self.id, self.progress.epoch)

    def take(self, outcome: Outcome) -> Generator[tuple[int, Outcome]]:
        """Store and publish what has ended."""
        stored = store_result(outcome, self.store, None if self.single else self.candidates)
        if stored.result is not None:
            self.publisher.publish(stored.result, outcome.run.name)
        for position in self.positions[outcome.run.key]:
            self.outcomes[position] = replace(stored, run=self.outcomes[position].run)
            yield position, self.outcomes[position]

    def publish_best(self) -> None:
        """Keep and publish the weights of the best run: that of the highest validation accuracy, if no other one is named."""
        self.best = self.best or best_of(self.outcomes)
        if self.best is not None and (result := with_weights(self.best, self.candidates, self.store)):
            self.best = replace(self.best, result=result)
            if result.weights is not None:
                all_of_it = [outcome.result for outcome in self.outcomes if outcome.result]
                self.publisher.publish_best(self.best.run, result, all_of_it)

    def stop(self) -> None:
        """Publish what is on disk, as far as a signal came between the two, and note and say what is lost."""
        for position, outcome in enumerate(self.outcomes):
            if outcome.key not in self.publisher.handed and not self.settings["force"]:
                with suppress(KeyError, UnreadableRun, OSError):
                    result = self.store.read(outcome.key)
                    self.outcomes[position] = replace(outcome, result=result)
                    self.publisher.publish(result, outcome.run.name)
        with suppress(UserError):  # a full disk, which ended the command
            self.ledger.write(self._record(STOPPED))
        messages.say_lost(self.outcomes)
        if missing := self._close("KILLED"):
            print(f"warning: {missing}", file=sys.stderr)

    def end(self) -> None:
        """Write the sweep's record and the folder of results, and print the last lines."""
        missing = self._close("FAILED" if any(outcome.failed for outcome in self.outcomes) else "FINISHED")
        sweep = self._record(ENDED)
        if self.single and not (sweep.lost or sweep.tags or sweep.note):
            self.ledger.remove(self.id)  # the folder of a single run that finished says it all
        else:
            self.ledger.write(sweep)
        if results := self.settings["paths"]["results"]:
            write_results(self.store, sweep, from_project(results))
        messages.say_summary(self.outcomes, self.best, self.single, time.monotonic() - self.started)
        if self.publisher.stopped:
            raise self.publisher.stopped
        if missing:
            raise TrackingUnavailable(missing)

    def _close(self, status: str) -> str | None:
        """End the sweep in MLflow, with the lost runs and their commands; what is missing there, in a sentence."""
        if self.tracker.address.kind != NONE:
            terminal.show("sending results to MLflow")
        return self.publisher.close(status, lost_tags(lost_runs(self.outcomes)))

    def _record(self, status: str) -> Sweep:
        """The sweep as it stands; a run without a result was interrupted, if no later record follows."""
        return Sweep(
            name=self.question,
            keys=list(dict.fromkeys(outcome.key for outcome in self.outcomes if outcome.result is not None)),
            winner=self.best.key if self.best else None,
            lost=lost_runs(self.outcomes),
            parent_run_id=self.publisher.under,
            id=self.id,
            status=status,
            tags=self.tags,
            note=self.settings["note"] or "",
        )
