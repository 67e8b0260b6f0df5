"""Configurations in, finished runs out: what `pipeline.train` does for one run and for a sweep alike.

Check everything, leave out what is finished, train the rest, put each result on disk as it comes, publish it, and at
the end say what was lost and which run was best.
"""

from __future__ import annotations

import logging
import resource
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.cli.console import PROJECT
from pipeline.cli.errors import RunFailed, UserError, shown_line
from pipeline.cli.formatting import duration, percent
from pipeline.config import compose, rules
from pipeline.config.job import Job, digest
from pipeline.data.arrays import Arrays, load, split
from pipeline.models import dense, devices, optimizers
from pipeline.models.devices import Device
from pipeline.storage import identity
from pipeline.storage.record import UnreadableRun
from pipeline.storage.store import RunStore
from pipeline.storage.sweep import (
    ENDED,
    RUNNING,
    STOPPED,
    Ledger,
    Lost,
    Sweep,
    gather,
    related,
    title,
    told_lost,
    told_of,
)
from pipeline.sweep import cards, cores, forecast, shares
from pipeline.sweep.planned import STACK, Planned, in_stack, score, train
from pipeline.sweep.progress import Progress, summary
from pipeline.sweep.publisher import Publisher, send_model
from pipeline.sweep.shares import Pool, Shares
from pipeline.tracking import Tracker, TrackingUnavailable, open_tracker
from pipeline.tracking.address import home
from pipeline.training import trainer
from pipeline.training.result import DIVERGED, FAILED, FINISHED, Result

log = logging.getLogger("pipeline.train")

Outcome = Callable[[], float]

INTERRUPTED = "interrupted"
"""What a run is whose command ended before it did; it has no result."""


def plan(values: list[dict[str, Any]], overrides: list[list[str]], pool: Pool | None = None) -> list[Planned]:
    """The jobs of `values`, checked against each other and against the data; on the devices of `pool`, or of this machine."""
    problems = [line for one in values for line in compose.problems(one)] + shared_problems(values)
    if problems:
        raise compose.ConfigurationError(problems)
    arrays: dict[str, Arrays] = {}
    chosen: dict[str, Device] = {}
    made: dict[tuple[str, str], dict[str, Any]] = {}
    planned = []
    for one, words in zip(values, overrides, strict=True):
        job = compose.to_job(one)
        name = job.dataset.name
        if name not in arrays:
            arrays[name] = load(resolve(one["paths"]["data"]) / name)
        data = arrays[name]
        problems += compose.against_data(job, len(data.train_labels))
        wanted = digest(one["device"])
        if wanted not in chosen:
            chosen[wanted] = shares.device(one["device"], pool)
        if (name, wanted) not in made:
            # Versions of packages are read from their files: 2 ms, which thousands of runs need not spend each.
            made[name, wanted] = identity.identity(data.digest, chosen[wanted].numerics())
        made_of = made[name, wanted]
        key = identity.key_of(job, made_of)
        planned.append(Planned(job, chosen[wanted], data, key, made_of, words))
        if job.optimizer.name not in optimizers.CLASSES:
            known = ", ".join(optimizers.CLASSES)
            problems.append(
                f"optimizer={job.optimizer.name}: pipeline/models/optimizers.py has no such name, only {known}"
            )
        problems += memory_problems(job, data.train_images.shape[1], data.classes)
    if problems:
        raise compose.ConfigurationError(problems)
    return planned


def shared_problems(values: Sequence[dict[str, Any]]) -> list[str]:
    """Keys with several values of which one command has one; a line each."""
    problems = []
    for key in rules.SHARED:
        section, _, name = key.rpartition(".")
        found = {str((one[section] if section else one)[name]) for one in values}
        if len(found) > 1:
            problems.append(f"{key}: cannot be swept (came: {', '.join(sorted(found))}); one command, one value")
    return problems


def memory_problems(job: Job, inputs: int, classes: int) -> list[str]:
    """A network that cannot fit this machine: weights, gradients and up to three optimizer slots in float32."""
    needed = dense.parameters(job.model, inputs, classes) * 4 * 5
    here = _memory()
    if here is None or needed < here:
        return []
    line = f"model.hidden={list(job.model.hidden)}: needs about {needed / 2**30:,.1f} GiB while it trains"
    return [f"{line}, this machine has {here / 2**30:,.1f}; make it narrower"]


def _memory() -> int | None:
    import os

    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def resolve(path: str) -> Path:
    """Relative paths are relative to the checkout, wherever the command was started."""
    return PROJECT / path


def store_root(path: str) -> Path:
    """Where run folders live: the project's own store, also for an experiment that DVC runs in a temporary clone."""
    return home() / path


class Session:
    """One command's runs, from what is there already to what is said at the end.

    `run` is all of it. Where the runs come in several batches, `add` and `train` are called for each within `opened`.
    """

    def __init__(
        self,
        planned: Sequence[Planned],
        settings: dict[str, Any],
        pool: Pool | None = None,
        batches_of: Sequence[str] | None = None,
    ) -> None:
        """`batches_of`: the words of a sweep of which `planned` is the first batch, where more may follow."""
        self.planned = list(planned)
        self.settings = settings
        self.asked_pool = self.pool = pool
        self.in_batches = batches_of is not None
        self.question: str = settings["question"]
        self.store = RunStore(store_root(settings["paths"]["runs"]))
        results = settings["paths"]["results"]
        self.results = resolve(results) if results else None
        self.tracker: Tracker = open_tracker(settings["tracking"]["kind"], settings["tracking"]["uri"])
        self.force: bool = settings["force"]
        self.retry: str = settings["retry"]
        self.ledger = Ledger(self.store)
        # The later batches' keys are not known yet; the same command has the same words.
        self.id = digest([self.question, *sorted(one.key for one in planned), *(batches_of or ())])
        self.is_sweep = len(planned) > 1 or self.in_batches
        self.candidates = Candidates()
        self.datasets: dict[str, dict[str, Any]] = {}
        self.publisher: Publisher | None = None
        self.shared: list[int] = []
        """Positions of what shares trained."""
        self.started = time.monotonic()

    def run(self) -> Iterator[tuple[int, Outcome]]:
        """Train and publish; yields `(position, outcome)` as runs end.

        `outcome()` writes the run's story to its log and returns its objective, or raises RunFailed. Raises UserError
        before anything is trained where there is no room for it, and TrackingUnavailable at the very end, when all else
        is done, where MLflow has not everything.
        """
        with self.opened():
            yield from self.train()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """The command from before its first run to what is said at the end; `train` and `add` are called within."""
        identity.environment()  # Kept from here on: somebody may commit or edit while runs train.
        self._prepare(0)
        self.tracker.warm()
        publisher = self.publisher = Publisher(self.tracker, self.store, self.question, self.datasets)
        status = "KILLED"
        try:
            if self.is_sweep:
                tags = self._size() | told_of(identity.environment())
                grown, within = related(self.ledger, self.question, {one.key for one in self.planned})
                publisher.begin(title(self._jobs()), tags, self.id, grown, within, restore=self.force)
            yield
            winner = self._winner(publisher)
            self._drop_weights(winner)
            failed = any(one.result is None or one.result.status == FAILED for one in self.planned)
            status = "FAILED" if failed else "FINISHED"
        except BaseException:
            self._publish_kept(publisher)
            with suppress(UserError):  # a full disk, which is what ended it
                self.ledger.write(self._record(STOPPED, publisher.under))
            self._say_lost()
            raise
        finally:
            publisher.call(partial(self._note_lost, publisher))
            missing = publisher.close(status)
            if missing and status == "KILLED":
                print(f"warning: {missing}", file=sys.stderr)
        self._conclude(winner, publisher)
        if publisher.stopped:
            raise publisher.stopped
        if missing:
            raise TrackingUnavailable(missing)

    def add(self, planned: Sequence[Planned]) -> int:
        """Take another batch of the sweep's runs; the position of its first one."""
        first = len(self.planned)
        self.planned += planned
        self._prepare(first)
        return first

    def train(self, first: int = 0) -> Generator[tuple[int, Outcome]]:
        """Publish what is there of the runs from position `first` on, and train the others; yields each as it ends."""
        assert self.publisher is not None
        there = [position for position in range(first, len(self.planned)) if self.planned[position].result is not None]
        for position in there:
            self.publisher.publish(self._result(position))
            yield position, self._outcome(position)
        for position in self._train(self.publisher, first):
            yield position, self._outcome(position)

    def _prepare(self, first: int) -> None:
        """Look up and announce the runs from position `first` on; raises UserError where there is no room for them."""
        counts = self.look_up(first)
        new = [one for one in self.planned[first:] if one.result is None]
        forecast.check_room(new, self._places())
        self._announce(counts, self.planned[first:])
        if new:
            self.ledger.write(self._record(RUNNING, self.publisher.parent if self.publisher else None))
        for one in self.planned[first:]:
            data = one.arrays
            told = {"name": one.job.dataset.name, "digest": data.digest, "shape": list(data.train_images.shape)}
            self.datasets[one.job.dataset.name] = told

    def _jobs(self) -> list[Job]:
        return [one.job for one in self.planned]

    def _size(self) -> dict[str, str]:
        return {"runs": str(len(self.planned))}

    def _places(self) -> dict[str, Path]:
        """Where this command writes, by the key that says so."""
        places = {"paths.runs": self.store.root}
        if self.results is not None:
            places["paths.results"] = self.results
        if self.tracker.address.database is not None:
            places["tracking"] = self.tracker.address.database.parent
        return places

    def look_up(self, first: int = 0) -> dict[str, int]:
        """Take from the store what need not be trained again; how many runs were `finished`, `failed`, `diverged`, `new`."""
        counts = dict.fromkeys((FINISHED, FAILED, DIVERGED, "new"), 0)
        # What an earlier batch of this very command has is not trained a second time, whatever force and retry say.
        before = [one.result for one in self.planned[:first] if one.result is not None]
        seen: dict[str, tuple[str, Result | None]] = {result.key: (result.status, result) for result in before}
        for one in self.planned[first:]:
            if one.key not in seen:
                seen[one.key] = self._stored(one)
            status, one.result = seen[one.key]
            if one.result is not None and one.result.key != one.key:
                one.key, one.identity = one.result.key, one.result.identity
            counts[status] += 1
        return counts

    def _stored(self, one: Planned) -> tuple[str, Result | None]:
        """What the store says of a run, and its result where that is taken; a damaged folder counts as not there."""
        result: Result | None = None
        for key in self._keys(one):
            try:
                result = self.store.read(key)
            except KeyError:
                continue
            except UnreadableRun as error:
                print(f"warning: {shown_line(str(error))}", flush=True)
                return "new", None
            if key == one.key or result.environment.get(STACK) == str(one.device.stack):
                break
            result = None
        if result is None:
            return "new", None
        again = self.force or (result.status != FINISHED and self.retry in (result.status, "all"))
        # A single run is asked for with its weights.
        again = again or (not self.is_sweep and result.finished and result.weights is None)
        return result.status, None if again else result

    def _keys(self, one: Planned) -> Iterator[str]:
        """The key of a run, and those of smaller stacks, which it has where the memory did not hold the whole one."""
        yield one.key
        size = one.device.stack // 2 if one.device.backend == "jax" and one.device.trainer == "engine" else 0
        while size:
            yield identity.key_of(one.job, in_stack(one.identity, size))
            size //= 2

    def _announce(self, counts: dict[str, int], planned: Sequence[Planned]) -> None:
        new = len({one.key for one in planned if one.result is None})
        one = planned[0]
        if self.is_sweep:
            shown = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
            training = "" if counts["new"] == len(planned) == new else f"; {new or 'nothing'} to train"
            print(f"{len(planned)} run{'s' if len(planned) > 1 else ''}: {shown}{training}", flush=True)
        elif one.result is None and counts[FINISHED] and not self.force:
            print(f"{one.job.name} is there already: {one.key[:12]}; trained again for its weights", flush=True)
        elif one.result is not None:
            again = "" if one.result.finished else f"; retry={one.result.status} trains it again"
            print(f"{one.job.name} is {one.result.status} already: {one.key[:12]}{again}", flush=True)
        if new:
            for device in dict.fromkeys(str(p.device) for p in planned if p.result is None):
                print(f"on {device}", flush=True)

    def to_train(self, first: int = 0) -> list[int]:
        """Positions, from `first` on, of what has no result; each key once."""
        positions: dict[str, int] = {}
        for position in range(first, len(self.planned)):
            if self.planned[position].result is None:
                positions.setdefault(self.planned[position].key, position)
        return list(positions.values())

    def _train(self, publisher: Publisher, begin: int) -> Iterator[int]:
        """Train what is not finished, here or in shares; yields positions as they end, with or without a result."""
        positions = self.to_train(begin)
        if not positions:
            return
        first = {self.planned[position].key: position for position in positions}
        twins: dict[int, list[int]] = {}
        for position in range(begin, len(self.planned)):
            one = self.planned[position]
            if one.result is None and first[one.key] != position:
                twins.setdefault(first[one.key], []).append(position)
        self.pool = self.asked_pool or self._processes([self.planned[position] for position in positions])
        with Progress([self.planned[position].job for position in positions]) as progress:
            training_here = self._here(positions, progress, publisher)
            for position in self._in_shares(positions, progress) if self.pool else training_here:
                one = self.planned[position]
                if one.result is not None:
                    publisher.publish(one.result)
                    progress.done(one.result)
                yield position
                for twin in twins.get(position, []):
                    other = self.planned[twin]
                    other.result, other.error, other.why_lost = one.result, one.error, one.why_lost
                    other.key, other.identity = one.key, one.identity
                    yield twin

    def _processes(self, runs: list[Planned]) -> Pool | None:
        """A pool of processes on this machine, where one of them alone would leave cards or cores idle."""
        if divided := cards.pool(runs, self.settings["device"]):
            return divided
        if on_cores := cores.pool(runs, _memory()):
            cores.alone(runs)
        return on_cores

    def _here(self, positions: list[int], progress: Progress, publisher: Publisher) -> Iterator[int]:
        by_job = {self.planned[position].job: self.planned[position] for position in positions}

        def heard(job: Job, epoch: trainer.Epoch) -> None:
            progress.heard(job, epoch)
            publisher.hear(by_job[job].begun(), epoch.epoch, epoch.metrics)

        if len(positions) == 1:
            publisher.hear(self.planned[positions[0]].begun())
        for position, result in train(self.planned, positions, heard, progress.begin):
            self.planned[position].result = self._keep(result)
            yield position

    def _in_shares(self, positions: list[int], progress: Progress) -> Iterator[int]:
        assert self.pool is not None
        progress.blind = True
        divided = Shares(self.pool, self.planned, self.store, resolve(self.settings["paths"]["data"]), self.id)
        with divided:
            for position in divided.train(positions):
                self.shared.append(position)
                yield position

    def _publish_kept(self, publisher: Publisher) -> None:
        """Hand over what is on disk already: a signal may come between the two."""
        for one in self.planned:
            if one.key not in publisher.handed and not self.force:
                with suppress(KeyError, UnreadableRun, OSError):
                    one.result = self.store.read(one.key)
                    publisher.publish(one.result)

    def _keep(self, result: Result) -> Result:
        """Put a result on disk; of a sweep, weights are kept of the winner alone, at the end."""
        if self.is_sweep and result.finished:
            self.candidates.add(result)
            result = replace(result, weights=None, probabilities=None)
        self.store.write(result)
        return result

    def _drop_weights(self, best: Planned | None) -> None:
        """Of what shares trained: each left the weights of the best of its configurations, one of which is the winner's."""
        if self.is_sweep:
            for position in self.shared:
                if best is None or self.planned[position].key != best.key:
                    self.store.drop_weights(self.planned[position].key)

    def _winner(self, publisher: Publisher) -> Planned | None:
        """The best run of the best configuration, by validation; from here on its weights are on disk."""
        best = winner(self.planned)
        if best is None or best.result is None:
            return None
        if best.result.weights is None:
            best.result = self._with_weights(best)
        if best.result.weights is not None:
            images = np.asarray(best.arrays.test_images[:5])
            publisher.call(partial(self._publish_model, publisher, best, images))
        return best

    def _with_weights(self, best: Planned) -> Result:
        """The winner's result with its weights: still in memory, on disk from another command, or trained once more."""
        assert best.result is not None
        found = self.candidates.get(best.key)
        if found is None:
            with suppress(KeyError, UnreadableRun):
                stored = self.store.read(best.key)
                if stored.weights is not None:
                    return stored
            found = self._again(best)
        if found is None:
            return best.result
        whole = replace(best.result, weights=found.weights, probabilities=found.probabilities)
        self.store.write(whole)
        return whole

    def _again(self, best: Planned) -> Result | None:
        """The same run once more, where it comes out the same; None, and said, where it does not or cannot be trained here."""
        assert best.result is not None
        if not shares.at_hand(best.device):
            print(
                f"warning: the weights of {best.job.name} are not kept: no GPU here to train it once more", flush=True
            )
            return None
        data = split(best.arrays, best.job.dataset.validation_size, best.job.dataset.train_size)
        for event in trainer.train([best.job], data, best.arrays.classes, best.device):
            if isinstance(event, trainer.Done):
                digests = event.result.digests
                different = [name for name, known in best.result.digests.items() if digests.get(name) != known]
                if not different:
                    return event.result
                print(
                    f"warning: {best.job.name}, trained once more for its weights, came out different "
                    f"({', '.join(different)}); they are not kept",
                    flush=True,
                )
        return None

    def _publish_model(self, publisher: Publisher, best: Planned, images: np.ndarray) -> None:
        assert best.result is not None
        if best.key in publisher.deleted:
            return
        published = self.store.published(best.key, self.tracker.address.name)
        run_id = published.get("run_id")
        if not run_id:
            return
        if publisher.parent:
            self.tracker.set_tags(publisher.parent, {"winner": best.job.name, "winner.run_id": run_id})
        if published.get("model") != run_id:
            # A network that is only saved needs no GPU: the one it was trained on may be another machine's.
            on = best.device if shares.at_hand(best.device) else replace(best.device, kind="cpu", precision="float32")
            devices.start(on)
            send_model(self.tracker, self.store, best.result, published, images, best.device.dtype)

    def _result(self, position: int) -> Result:
        result = self.planned[position].result
        assert result is not None
        return result

    def _outcome(self, position: int) -> Outcome:
        return partial(tell, self.planned[position])

    def _record(self, status: str, parent: str | None = None, winner: str | None = None) -> Sweep:
        """The sweep as it stands; a run without a result is one that was interrupted, if this is the last that is heard."""
        trained = [one.result for one in self.planned if one.trained and one.result is not None]
        return Sweep(
            name=self.question,
            keys=list(dict.fromkeys(one.key for one in self.planned if one.result is not None)),
            winner=winner,
            lost=[lost(one) for one in self.planned if one.result is None or not one.result.finished],
            parent_run_id=parent,
            seconds=time.monotonic() - self.started,
            id=self.id,
            status=status,
            trained=len(trained),
            train_seconds=sum(result.figures.get("time/train_s", 0.0) for result in trained),
            peak_memory_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            # What shares took elsewhere, waiting in a queue included, predicts nothing of this machine.
            machine="" if self.pool else identity.machine(),
            workers=self.planned[0].device.workers,
        )

    def _note_lost(self, publisher: Publisher) -> None:
        """Put on the sweep's parent run which runs it lost, why, and the commands that train them again."""
        told = [lost(one) for one in self.planned if one.result is None or not one.result.finished]
        if publisher.parent and (self.is_sweep or told):
            size = {**self._size(), "mlflow.runName": title(self._jobs())} if self.in_batches else {}
            self.tracker.set_tags(publisher.parent, told_lost(told) | size)

    def _say_lost(self) -> None:
        """Each lost run, its reason and the command that trains it again; of many that were interrupted, the first."""
        told = [lost(one) for one in self.planned if one.result is None or not one.result.finished]
        cut_off = {one.key for one in self.planned if one.result is None and not one.why_lost}
        waiting = [one for one in told if one.key in cut_off]
        for one in [one for one in told if one.key not in cut_off]:
            print(f"{one.name} {one.status}: {one.reason}\n  again: {one.command}", flush=True)
        if waiting:
            runs, them = (f"{len(waiting)} runs were", "them") if len(waiting) > 1 else ("1 run was", "it")
            named = f"{waiting[0].name}{' …' if len(waiting) > 1 else ''}"
            print(
                f"{runs} not trained to the end ({named}); the same command trains {them} from the first epoch",
                flush=True,
            )

    def _conclude(self, best: Planned | None, publisher: Publisher) -> None:
        """The sweep's record, the stage's output, and the last lines a person reads."""
        sweep = self._record(ENDED, publisher.under, best.key if best else None)
        before = self.ledger.get(self.id)
        if before is not None and not sweep.trained:
            # What training it took is known from the command that did it, and of use to the next plan.
            kept = ("trained", "train_seconds", "peak_memory_mb", "machine", "workers", "seconds")
            sweep = replace(sweep, **{name: getattr(before, name) for name in kept})
        lost = sweep.lost
        if self.is_sweep or lost:
            self.ledger.write(sweep)
        else:
            # Of a single run that finished, its folder says it all.
            self.ledger.remove(self.id)
        if self.results is not None:
            gather(self.store, sweep, self.results)
        if not self.is_sweep:
            if lost and lost[0].status != FAILED:
                print(f"{lost[0].name} {lost[0].status}: {lost[0].reason}")
            if best is not None and best.result is not None:
                print(summary(best.result))
            return
        self._say_lost()
        finished = sum(1 for one in self.planned if one.result is not None and one.result.finished)
        print(
            f"{finished} of {len(self.planned)} runs finished in {duration(time.monotonic() - self.started)}",
            flush=True,
        )
        if best is not None and best.result is not None and "best/val_accuracy" in best.result.figures:
            accuracy = percent(best.result.figures["best/val_accuracy"])
            print(f"best on the validation split: {best.job.name}, {accuracy}", flush=True)


def lost(one: Planned) -> Lost:
    """The ledger's line of a run without a finished result."""
    if one.result is None:
        why = one.why_lost or "the command ended before it was trained"
        return Lost(one.job.name, INTERRUPTED, why, one.command, one.key)
    status = one.result.status
    again = f"{one.command} retry=diverged" if status == DIVERGED else one.command
    return Lost(one.job.name, status, one.result.reason or "", again, one.key)


class Candidates:
    """Weights of the best runs so far, in memory up to a bound: one of them is the winner, almost always."""

    MOST = 128 * 2**20

    def __init__(self) -> None:
        self._held: dict[str, Result] = {}

    def add(self, result: Result) -> None:
        self._held[result.key] = result
        while sum(map(_bytes, self._held.values())) > self.MOST and len(self._held) > 1:
            del self._held[min(self._held, key=lambda key: score(self._held[key]))]

    def get(self, key: str) -> Result | None:
        return self._held.get(key)


def _bytes(result: Result) -> int:
    arrays = [*(result.weights or {}).values(), result.probabilities]
    return sum(array.nbytes for array in arrays if array is not None)


def winner(planned: list[Planned]) -> Planned | None:
    """The run with the highest best validation accuracy, within the configuration whose mean of it is highest.

    A configuration that lost a seed comes after all that lost none: the mean of those that survived flatters it. Without
    a validation split nothing may be chosen: the first run stands for all.
    """
    finished = [(score(one.result), one) for one in planned if one.result is not None and one.result.finished]
    if not finished:
        return None
    if any(accuracy == float("-inf") for accuracy, _ in finished):
        return finished[0][1]
    configurations: dict[str, list[tuple[float, Planned]]] = {}
    for accuracy, one in finished:
        configurations.setdefault(one.job.configuration, []).append((accuracy, one))
    losing = {one.job.configuration for one in planned if one.result is not None and not one.result.finished}

    def rank(configuration: str) -> tuple[bool, float]:
        mean = float(np.mean([accuracy for accuracy, _ in configurations[configuration]]))
        return configuration not in losing, mean

    return max(configurations[max(configurations, key=rank)], key=lambda pair: pair[0])[1]


def tell(one: Planned) -> float:
    """Write a run's story to the log of its job, and return its objective: what a sweeper maximises."""
    result = one.result
    if result is None:
        line = f"{one.job.name} {INTERRUPTED}: {lost(one).reason}; again: {one.command}"
        log.error(line)
        raise RunFailed(line)
    log.info("%s, key %s", result.name, one.key)
    for epoch in range(len(result.history.get("train/loss", []))):
        log.info("epoch %d: %s", epoch + 1, ", ".join(f"{n} {v[epoch]:.6g}" for n, v in result.history.items()))
    if result.status == FAILED:
        log.error("failed", exc_info=one.error)
        raise RunFailed(f"{result.name} failed: {result.reason}; again: {one.command}")
    if not result.finished:
        log.warning("diverged: %s", result.reason)
        return 0.0
    log.info(summary(result))
    return result.figures.get("best/val_accuracy", result.figures["train/accuracy"])
