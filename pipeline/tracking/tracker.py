"""Tracker: Results in, MLflow runs out. One for a whole process; safe to use from several threads."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.tracking import describe, runs, sweeps
from pipeline.tracking.address import NONE, SERVER, Address
from pipeline.tracking.connection import Connection
from pipeline.tracking.database import TrackingUnavailable
from pipeline.tracking.describe import Point
from pipeline.tracking.runs import Entry
from pipeline.tracking.sweeps import ParentRun

if TYPE_CHECKING:
    from mlflow.entities import Run

    from pipeline.config.run_config import RunConfig
    from pipeline.training.result import RunResult

AT_ONCE = 8
"""Runs sent to a server at once: 40 ms of each of their calls are spent waiting for an acknowledgement."""


class Tracker:
    """Records runs in the MLflow store at `address`. Every method raises TrackingUnavailable if that fails."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.connection = Connection(address)
        self.origin = runs.origin()
        self._live: dict[str, list[Point]] = {}
        """What was sent of each run that is training, by run id."""

    def warm(self) -> threading.Thread:
        """Import MLflow and open the store in the background, so that training does not wait for it (3 to 4 s).

        An error there occurs again, and is reported, when something is recorded.
        """

        def open_store() -> None:
            try:
                _ = self.connection.client
            except Exception as error:
                logging.getLogger(__name__).debug("tracking could not be opened yet: %s", self.connection.cause(error))

        thread = threading.Thread(target=open_store, name="tracking-warm", daemon=True)
        thread.start()
        return thread

    # --- writing

    def begin(self, parent: ParentRun) -> str:
        """The run that stands for a whole sweep, RUNNING; its id, or nothing if a person deleted it and it may not come back.

        Runs that dead processes left RUNNING are marked KILLED.
        """
        with self.connection.exclusive(f"begin {parent.name}") as client:
            experiment_id = self.connection.experiment(parent.experiment)
            sweeps.close_stale(client)
            tagged = replace(parent, tags=self.origin | dict(parent.tags))
            return sweeps.begin(client, experiment_id, tagged)

    def publish(
        self,
        result: RunResult,
        experiment: str,
        parent: str | None = None,
        restore: bool = False,
        name: str | None = None,
    ) -> dict[str, str]:
        """Record `result` as one run: parameters, metrics by epoch, tags, data set, times, status. Its ids.

        A key has one run in an experiment, under the parent that it had first: published again, it gives the same ids.
        A run that was left half is completed; one that failed earlier and finished now takes the failed one's place. A run
        that a person deleted stays deleted, and has no ids, unless `restore` brings it back. A new one is called `name`.
        """
        with self.connection.exclusive(f"publish {result.name}") as client:
            entry = self._entry(result, experiment, parent, name)
            return self._named(runs.record(client, entry, self._live, restore))

    def publish_all(
        self,
        results: Sequence[RunResult],
        experiment: str,
        parent: str | None = None,
        names: Mapping[RunConfig, str] | None = None,
    ) -> tuple[dict[str, dict[str, str]], TrackingUnavailable | None]:
        """`publish` with `restore` for each of `results`, several at once on a server.

        Ids by key of those that were taken, and the first error, after which no further run was tried.
        """
        taken: dict[str, dict[str, str]] = {}
        errors: list[TrackingUnavailable] = []

        def publish(result: RunResult) -> None:
            try:
                if not errors:
                    with self.connection.failing(f"publish {result.name}"):
                        entry = self._entry(result, experiment, parent, (names or {}).get(result.job))
                        ids = runs.record(self.connection.client, entry, self._live, restore=True)
                        taken[result.key] = self._named(ids)
            except TrackingUnavailable as error:
                errors.append(error)

        with self.connection.exclusive(f"publish {len(results)} runs"):
            # The first run creates what all of them share, the experiment and its data set.
            for result in results[:1]:
                publish(result)
            with ThreadPoolExecutor(AT_ONCE if self.address.kind == SERVER else 1, "publish") as pool:
                list(pool.map(publish, results[1:]))
        return taken, errors[0] if errors else None

    def _entry(self, result: RunResult, experiment: str, parent: str | None, name: str | None) -> Entry:
        experiment_id = self.connection.experiment(experiment)
        return Entry(result, experiment_id, parent or None, self.origin, self.address.artifacts, name or result.name)

    def _named(self, ids: dict[str, str]) -> dict[str, str]:
        return ids and ids | {"store": self.address.name}

    def start(self, result: RunResult, experiment: str, parent: str | None = None, name: str | None = None) -> str:
        """A run whose training has begun, RUNNING; its id. `publish` completes it.

        `result` has no numbers yet. The id is empty if the key has a whole run, or one that another process trains.
        """
        with self.connection.exclusive(f"start {result.name}") as client:
            run_id = runs.start(client, self._entry(result, experiment, parent, name))
            if run_id:
                self._live[run_id] = []
            return run_id

    def add(self, run_id: str, points: Sequence[Point]) -> None:
        """More points of a run that `start` or `begin` began."""
        with self.connection.exclusive("add to a curve") as client:
            runs.send(client, run_id, points)
            if run_id in self._live:
                self._live[run_id] += points

    def end(self, run_id: str, status: str, at: int | None = None) -> None:
        """Close a run as FINISHED, FAILED or KILLED, now or `at` so many milliseconds since 1970."""
        with self.connection.exclusive("end a run") as client:
            # If the clock was set back meanwhile, the run would end before it began.
            begun = client.get_run(run_id).info.start_time
            client.set_terminated(run_id, status, max(int(time.time() * 1000) if at is None else at, begun))

    def close_stale(self) -> list[str]:
        """Mark as KILLED the runs that are RUNNING although the processes of this machine that worked on them are gone."""
        with self.connection.exclusive("close stale runs") as client:
            return sweeps.close_stale(client)

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
        """Single finite numbers of a run; one that the run has already is not written again."""
        now = int(time.time() * 1000)
        with self.connection.exclusive("log metrics") as client:
            there = client.get_run(run_id).data.metrics
            new = {name: float(value) for name, value in metrics.items() if there.get(name) != value}
            runs.send(client, run_id, [Point(name, value, step, now) for name, value in new.items()])

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run; one with an empty value is deleted."""
        with self.connection.exclusive("set tags") as client:
            runs.send(client, run_id, tags={name: value for name, value in tags.items() if value})
            empty = {name for name, value in tags.items() if not value}
            for name in empty and empty & client.get_run(run_id).data.tags.keys():
                client.delete_tag(run_id, name)

    def add_files(self, run_id: str, paths: Mapping[str, Path]) -> None:
        """See `runs.add_files`."""
        with self.connection.exclusive("add files") as client:
            runs.check_folder(client, run_id, self.address.artifacts)
            runs.add_files(client, run_id, paths)

    # --- looking up

    @property
    def exists(self) -> bool:
        """Whether there is a store: looking into a database that was never made would make it."""
        return self.address.kind != NONE and (self.address.database is None or self.address.database.exists())

    def parent(self, experiment: str, sweep_id: str) -> str | None:
        """The run that stands for a sweep in this store, no matter which store it was trained with; None if there is none."""
        run = self.parent_run(experiment, sweep_id)
        return run.info.run_id if run else None

    def parent_run(self, experiment: str, sweep_id: str) -> Run | None:
        if not self.exists:
            return None
        with self.connection.exclusive("look for a sweep") as client:
            found = client.get_experiment_by_name(experiment)
            parents = sweeps.parents(client, found.experiment_id, sweep_id) if found else []
            return parents[0] if parents else None

    def run(self, run_id: str) -> Run | None:
        """The run, if it is in this store and not deleted."""
        with self.connection.exclusive("look for a run") as client:
            return runs.get(client, run_id)

    def confirmed(self, noted: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
        """Of ids that `publish` gave, by key, those whose run is still in the store, whole and with that key."""
        keys = {ids["run_id"]: key for key, ids in noted.items() if "run_id" in ids}
        if not keys or not self.exists:
            return {}
        with self.connection.exclusive("look for published runs") as client:
            found = runs.with_ids(client, sorted(keys))
        whole = [run for run in found if runs.ended(run) and run.data.tags.get(describe.KEY) == keys[run.info.run_id]]
        return {keys[run.info.run_id]: self._named(runs.ids_of(run)) for run in whole}

    def recorded(self, word: str) -> RunResult | None:
        """The run of this id or key (or at least the first 6 letters of a key), as it was published; None if there is none."""
        if not self.exists or not re.fullmatch("[0-9a-f]{6,64}", word):
            return None
        with self.connection.exclusive(f"look for {word}") as client:
            query = f"attributes.run_id = '{word}'" if len(word) == 32 else f"tags.`{describe.KEY}` LIKE '{word}%'"
            for run in runs.search(client, runs.all_experiments(client), query):
                if key := run.data.tags.get(describe.KEY):
                    runs.check_folder(client, run.info.run_id, self.address.artifacts)
                    return describe.restored(runs.read_file(client, run.info.run_id, describe.PROVENANCE), key)
        return None


class NullTracker(Tracker):
    """The tracker of `tracking=none`: what a command tells it is dropped."""

    def publish(self, *_: Any, **__: Any) -> dict[str, str]:
        return {}

    def _drop(self, *_: Any, **__: Any) -> Any:
        return ""

    warm = begin = start = add = end = set_tags = log_metrics = _drop
