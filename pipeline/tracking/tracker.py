"""Tracker: Results in, MLflow runs out. One for a whole process; safe to use from several threads."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pipeline.tracking import describe, front, process, runs
from pipeline.tracking.address import NONE, SERVER, Address
from pipeline.tracking.connection import Connection
from pipeline.tracking.database import TrackingUnavailable
from pipeline.tracking.describe import KEY, Point
from pipeline.tracking.runs import KILLED, RUNNING, Entry

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

    from pipeline.config.run_config import RunConfig
    from pipeline.storage.sweeps import Sweep
    from pipeline.training.result import RunResult

AT_ONCE = 8
"""Runs sent to a server at once: 40 ms of each of their calls are spent waiting for an acknowledgement."""
SWEEP = "sweep.id"
MOST_IDS = 100
"""Ids that the run of a sweep that grew keeps: MLflow takes 8,000 letters."""


@dataclass(frozen=True)
class ParentRun:
    """What the run of MLflow that stands for a whole sweep is to be."""

    experiment: str
    name: str
    tags: Mapping[str, str]
    sweep_id: str | None = None
    """Processes that give the same id share one run, and a sweep that is continued finds its earlier one."""
    start: int | None = None
    """When it began, in milliseconds since 1970; None for now."""
    contains: Sequence[str] = ()
    """Ids of smaller sweeps: the first run that one of them has becomes this one's."""
    restore: bool = True
    """Whether a run that a person deleted comes back."""


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

    # --- the run of a sweep

    def begin(self, parent: ParentRun) -> str:
        """The run that stands for a whole sweep, RUNNING; its id, or nothing if a person deleted it and it may not come back.

        Runs that dead processes left RUNNING are marked KILLED.
        """
        with self.connection.exclusive(f"begin {parent.name}") as client:
            experiment_id = self.connection.experiment(parent.experiment)
            _close_stale(client)
            earlier, ids = _earlier(client, experiment_id, parent)
            tags = self.origin | dict(parent.tags) | process.tag() | ids
            name = describe.fit(parent.name, describe.NAME_LIMIT)
            if earlier is None:
                tags = {tag: describe.fit(value, describe.TAG_LIMIT) for tag, value in tags.items()}
                return str(client.create_run(experiment_id, parent.start, tags, name).info.run_id)
            run_id = str(earlier.info.run_id)
            if runs.deleted(earlier):
                if not parent.restore:
                    return ""
                client.restore_run(run_id)
            client.update_run(run_id, status=RUNNING, name=name)
            runs.send(client, run_id, tags=tags)
            return run_id

    def parent(self, experiment: str, sweep_id: str) -> Run | None:
        """The run that stands for a sweep in this store, no matter which store it was trained with; None if there is none."""
        if not self.exists:
            return None
        with self.connection.exclusive("look for a sweep") as client:
            found = client.get_experiment_by_name(experiment)
            parents = _parents(client, found.experiment_id, sweep_id) if found else []
            return parents[0] if parents else None

    def close_stale(self) -> None:
        """Mark as KILLED the runs that are RUNNING although the processes of this machine that worked on them are gone."""
        with self.connection.exclusive("close stale runs") as client:
            _close_stale(client)

    # --- the run of a RunResult

    def publish(
        self, result: RunResult, experiment: str, parent: str | None = None, name: str | None = None
    ) -> dict[str, str]:
        """Record `result` as one run: parameters, metrics by epoch, tags, data set, times, status. Its ids.

        A key has one run in an experiment, under the parent that it had first: published again, it gives the same ids.
        A run that was left half is completed; one that failed earlier and finished now takes the failed one's place. A run
        that a person deleted stays deleted, and has no ids. A new one is called `name`.
        """
        with self.connection.exclusive(f"publish {result.name}"):
            return self._record(self._entry(result, experiment, parent, name), restore=False)

    def publish_all(
        self,
        results: Sequence[RunResult],
        experiment: str,
        parent: str | None = None,
        names: Mapping[RunConfig, str] | None = None,
    ) -> tuple[dict[str, dict[str, str]], TrackingUnavailable | None]:
        """`publish` for each of `results`, several at once on a server; those that a person deleted come back.

        Ids by key of those that were taken, and the first error, after which no further run was tried.
        """
        taken: dict[str, dict[str, str]] = {}
        errors: list[TrackingUnavailable] = []

        def publish(result: RunResult) -> None:
            if errors:
                return
            try:
                with self.connection.failing(f"publish {result.name}"):
                    entry = self._entry(result, experiment, parent, (names or {}).get(result.job))
                    taken[result.key] = self._record(entry, restore=True)
            except TrackingUnavailable as error:
                errors.append(error)

        with self.connection.exclusive(f"publish {len(results)} runs"):
            # The first run creates what all of them share, the experiment and its data set.
            for result in results[:1]:
                publish(result)
            with ThreadPoolExecutor(AT_ONCE if self.address.kind == SERVER else 1, "publish") as pool:
                list(pool.map(publish, results[1:]))
        return taken, errors[0] if errors else None

    def start(self, result: RunResult, experiment: str, parent: str | None = None, name: str | None = None) -> str:
        """A run whose training has begun, RUNNING; its id. `publish` completes it.

        `result` has no numbers yet. The id is empty if the key has a whole run, or one that another process trains.
        """
        with self.connection.exclusive(f"start {result.name}") as client:
            run_id = runs.start(client, self._entry(result, experiment, parent, name))
            if run_id:
                self._live[run_id] = []
            return run_id

    def _entry(self, result: RunResult, experiment: str, parent: str | None, name: str | None) -> Entry:
        tags = self.origin | process.tag() | describe.tags(result)
        experiment_id = self.connection.experiment(experiment)
        return Entry(result, experiment_id, parent or None, name or result.name, tags, self.address.artifacts)

    def _record(self, entry: Entry, restore: bool) -> dict[str, str]:
        ids = runs.record(self.connection.client, entry, self._live, restore)
        return ids and ids | {"store": self.address.name}

    # --- more of a run

    def add(self, run_id: str, points: Sequence[Point]) -> None:
        """More points of a run that `start` or `begin` began."""
        with self.connection.exclusive("add to a curve") as client:
            runs.send(client, run_id, points)
            if run_id in self._live:
                self._live[run_id] += points

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
        """Put files and whole folders under a run, each at its own path (`figures/gap.png`), which ends with its own name."""
        with self.connection.exclusive("add files") as client:
            runs.check_folder(client.get_run(run_id), self.address.artifacts)
            for name, path in paths.items():
                if path.is_dir():
                    client.log_artifacts(run_id, str(path), name)
                else:
                    folder = str(PurePosixPath(name).parent)
                    client.log_artifact(run_id, str(path), None if folder == "." else folder)

    def end(self, run_id: str, status: str, at: int | None = None) -> None:
        """Close a run as FINISHED, FAILED or KILLED, now or `at` so many milliseconds since 1970."""
        with self.connection.exclusive("end a run") as client:
            # If the clock was set back meanwhile, the run would end before it began.
            begun = client.get_run(run_id).info.start_time
            client.set_terminated(run_id, status, max(int(time.time() * 1000) if at is None else at, begun))

    def attach_report(
        self, sweeps: Sequence[Sweep], files: Mapping[str, Path], note: str, metrics: Mapping[str, float], warning: str
    ) -> None:
        """Put a report's files, numbers and note, in Markdown, on the runs of its sweeps."""
        # A record has the id of the store it was trained with; in another store the sweep's run has an id of its own.
        found = [(self.parent(sweep.name, sweep.id) or self.run(sweep.parent_run_id or ""), sweep) for sweep in sweeps]
        for run_id, (run, sweep) in {run.info.run_id: (run, sweep) for run, sweep in found if run}.items():
            self.add_files(run_id, {f"report/{name}": path for name, path in files.items()})
            self.log_metrics(run_id, metrics)
            text = "\n\n".join(filter(None, [sweep.note, front.links(run.info.experiment_id, run_id), note]))
            self.set_tags(run_id, {describe.NOTE: text, "warning": warning})

    # --- looking up

    @property
    def exists(self) -> bool:
        """Whether there is a store: looking into a database that was never made would make it."""
        return self.address.kind != NONE and (self.address.database is None or self.address.database.exists())

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
        whole = [run for run in found if runs.ended(run) and runs.key_of(run) == keys[run.info.run_id]]
        return {keys[run.info.run_id]: runs.ids_of(run) | {"store": self.address.name} for run in whole}

    def recorded(self, name_or_key: str) -> RunResult | None:
        """The run of this id or key (or at least the first 6 letters of a key), as it was published; None if there is none."""
        if not self.exists or not re.fullmatch("[0-9a-f]{6,64}", name_or_key):
            return None
        with self.connection.exclusive(f"look for {name_or_key}") as client:
            query = (
                f"attributes.run_id = '{name_or_key}'"
                if len(name_or_key) == 32
                else f"tags.`{KEY}` LIKE '{name_or_key}%'"
            )
            for run in runs.search(client, runs.all_experiments(client), query):
                if key := runs.key_of(run):
                    runs.check_folder(run, self.address.artifacts)
                    return describe.restored(runs.read_file(client, run.info.run_id, describe.PROVENANCE), key)
        return None

    def deleted_keys(self) -> set[str]:
        """Keys of the runs that a person deleted, and that have no other run in the store."""
        from mlflow.entities import ViewType

        with self.connection.exclusive("look for deleted runs") as client:
            experiments = [found.experiment_id for found in client.search_experiments(ViewType.ALL)]
            found = runs.search(client, experiments, f"tags.`{KEY}` LIKE '%'", deleted=True)
        there = {runs.key_of(run) for run in found if not runs.deleted(run)}
        return {runs.key_of(run) for run in found if runs.REPLACED not in run.data.tags} - there

    def registered_keys(self) -> set[str]:
        """Keys of the runs whose networks are versions of a registered model."""
        with self.connection.exclusive("look for registered models") as client:
            versions = client.search_model_versions()
            found = runs.with_ids(client, [version.run_id for version in versions if version.run_id])
        return {version.tags[KEY] for version in versions if KEY in version.tags} | {runs.key_of(run) for run in found}


def _earlier(client: MlflowClient, experiment_id: str, parent: ParentRun) -> tuple[Run | None, dict[str, str]]:
    """The run that stands for this sweep, or for one that it contains, already; and the tag with the ids of all of them."""
    if parent.sweep_id is None:
        return None, {}
    found = _parents(client, experiment_id, parent.sweep_id, deleted=True)
    for smaller in parent.contains:
        found = found or _parents(client, experiment_id, smaller)
    ids = found[0].data.tags[SWEEP].split("\n") if found else []
    ids = list(dict.fromkeys([*ids, *parent.contains, parent.sweep_id]))[-MOST_IDS:]
    return (found[0] if found else None), {SWEEP: "\n".join(ids)}


def _parents(client: MlflowClient, experiment_id: str, sweep_id: str, *, deleted: bool = False) -> list[Run]:
    """The runs that stand for a sweep, the one to use first; there is one, except after accidents."""
    query = f"tags.`{SWEEP}` LIKE '%{sweep_id}%'"
    found = runs.search(client, [experiment_id], query, deleted=deleted)
    of_sweep = [run for run in found if sweep_id in run.data.tags[SWEEP].split("\n")]
    return sorted(of_sweep, key=runs.deleted)


def _close_stale(client: MlflowClient) -> None:
    """See `Tracker.close_stale`."""
    ours = f"tags.`{process.TAG}` LIKE '%{process.host()}%'"
    running = runs.search(client, runs.all_experiments(client), f"attributes.status = '{RUNNING}' and {ours}")
    for run in running:
        if process.dead(run.data.tags):
            query = f"tags.`{describe.PARENT}` = '{run.info.run_id}'"
            last_child = client.search_runs([run.info.experiment_id], query, max_results=1)
            # When it died is not known; not before its last child ended.
            end = max([run.info.start_time, *(child.info.end_time or 0 for child in last_child)])
            client.set_terminated(run.info.run_id, KILLED, end)


class NullTracker(Tracker):
    """The tracker of `tracking=none`: what a command tells it is dropped."""

    def publish(self, *_: Any, **__: Any) -> dict[str, str]:
        return {}

    def _drop(self, *_: Any, **__: Any) -> Any:
        return ""

    warm = begin = start = add = end = set_tags = log_metrics = _drop
