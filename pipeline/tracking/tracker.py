"""The tracker, which records RunResults as MLflow runs. One per process; safe to use from several threads."""

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
"""Runs sent to a server in parallel: each call waits 40 ms for an acknowledgement."""
SWEEP = "sweep.id"
MOST_IDS = 100
"""Sweep ids kept in the tag of a parent run: MLflow limits a tag to 8,000 characters."""


@dataclass(frozen=True)
class ParentRun:
    """The MLflow parent run of a sweep."""

    experiment: str
    name: str
    tags: Mapping[str, str]
    sweep_id: str | None = None
    """Processes with the same id share one parent run, and a continued sweep finds its earlier one."""
    start: int | None = None
    """Start time in milliseconds since 1970; None for now."""
    contains: Sequence[str] = ()
    """Ids of smaller sweeps; the first parent run found for one of them is reused."""
    restore: bool = True
    """Whether to restore the run if a person deleted it."""


class Tracker:
    """Records runs in the MLflow store at `address`. Every method raises TrackingUnavailable if the store fails."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.connection = Connection(address)
        self.origin = runs.origin()
        self._live: dict[str, list[Point]] = {}
        """Points already sent for the runs in training, by run id."""

    def warm(self) -> threading.Thread:
        """Import MLflow and open the store in the background, so that training does not wait for it (3 to 4 s).

        Errors are only logged here; they recur and are raised when something is recorded.
        """

        def open_store() -> None:
            try:
                _ = self.connection.client
            except Exception as error:
                logging.getLogger(__name__).debug("tracking could not be opened yet: %s", self.connection.cause(error))

        thread = threading.Thread(target=open_store, name="tracking-warm", daemon=True)
        thread.start()
        return thread

    # --- parent runs of sweeps

    def begin(self, parent: ParentRun) -> str:
        """Create or reopen the parent run of a sweep as RUNNING, and return its id.

        The id is empty if a person deleted the run and `parent.restore` is False. Also calls `close_stale`.
        """
        with self.connection.exclusive(f"begin {parent.name}") as client:
            experiment_id = self.connection.experiment(parent.experiment)
            self.close_stale()
            earlier, ids = _earlier(client, experiment_id, parent)
            tags = self.origin | dict(parent.tags) | process.tag() | ids
            name = describe.shorten(parent.name, describe.NAME_LIMIT)
            if earlier is None:
                tags = {tag: describe.shorten(value, describe.TAG_LIMIT) for tag, value in tags.items()}
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
        """Return the parent run of a sweep in this store, even if it was trained with another one; None if there is none."""
        if not self.exists:
            return None
        with self.connection.exclusive("look for a sweep") as client:
            found = client.get_experiment_by_name(experiment)
            parents = _parents(client, found.experiment_id, sweep_id) if found else []
            return parents[0] if parents else None

    def close_stale(self) -> None:
        """Mark runs as KILLED that are still RUNNING although their process on this machine is gone."""
        with self.connection.exclusive("close stale runs") as client:
            ours = f"tags.`{process.TAG}` LIKE '%{process.host()}%'"
            running = runs.search(client, runs.all_experiments(client), f"attributes.status = '{RUNNING}' and {ours}")
            for run in running:
                if process.dead(run.data.tags):
                    query = f"tags.`{describe.PARENT}` = '{run.info.run_id}'"
                    last_child = client.search_runs([run.info.experiment_id], query, max_results=1)
                    # Its process died at an unknown time, but not before the last child ended.
                    end = max([run.info.start_time, *(child.info.end_time or 0 for child in last_child)])
                    client.set_terminated(run.info.run_id, KILLED, end)

    # --- runs of RunResults

    def publish(
        self, result: RunResult, experiment: str, parent: str | None = None, name: str | None = None
    ) -> dict[str, str]:
        """Record `result` as one run (parameters, metrics by epoch, tags, data set, times, status) and return its ids.

        A key has one run per experiment, under its first parent; publishing it again returns the same ids. An incomplete
        run is completed. A finished run replaces an earlier failed one. A run that a person deleted stays deleted, and no
        ids are returned. `name` is used for a new run.
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
        """Publish each of `results`, in parallel on a server, and restore runs that a person deleted.

        Returns the ids of the recorded runs by key, and the first error. After an error no further run is sent.
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
            # The first run creates the experiment and the data set, which all runs share.
            for result in results[:1]:
                publish(result)
            with ThreadPoolExecutor(AT_ONCE if self.address.kind == SERVER else 1, "publish") as pool:
                list(pool.map(publish, results[1:]))
        return taken, errors[0] if errors else None

    def start(self, result: RunResult, experiment: str, parent: str | None = None, name: str | None = None) -> str:
        """Create a RUNNING run when its training begins, and return its id. `publish` completes it.

        `result` has no metrics yet. The id is empty if the key has a complete run, or if another process is training it.
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

    # --- additions to a run

    def add(self, run_id: str, points: Sequence[Point]) -> None:
        """Add points to a run that `start` or `begin` created."""
        with self.connection.exclusive("add to a curve") as client:
            runs.send(client, run_id, points)
            if run_id in self._live:
                self._live[run_id] += points

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log finite metrics of a run, except those already logged with the same value."""
        now = int(time.time() * 1000)
        with self.connection.exclusive("log metrics") as client:
            there = client.get_run(run_id).data.metrics
            new = {name: float(value) for name, value in metrics.items() if there.get(name) != value}
            runs.send(client, run_id, [Point(name, value, step, now) for name, value in new.items()])

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run; a tag with an empty value is deleted."""
        with self.connection.exclusive("set tags") as client:
            runs.send(client, run_id, tags={name: value for name, value in tags.items() if value})
            empty = {name for name, value in tags.items() if not value}
            for name in empty and empty & client.get_run(run_id).data.tags.keys():
                client.delete_tag(run_id, name)

    def add_files(self, run_id: str, paths: Mapping[str, Path]) -> None:
        """Upload files and folders, each to an artifact path that ends with its own name (`figures/gap.png`)."""
        with self.connection.exclusive("add files") as client:
            runs.check_folder(client.get_run(run_id), self.address.artifacts)
            for name, path in paths.items():
                if path.is_dir():
                    client.log_artifacts(run_id, str(path), name)
                else:
                    folder = str(PurePosixPath(name).parent)
                    client.log_artifact(run_id, str(path), None if folder == "." else folder)

    def end(self, run_id: str, status: str, at: int | None = None) -> None:
        """End a run as FINISHED, FAILED or KILLED, now or at `at`, in milliseconds since 1970."""
        with self.connection.exclusive("end a run") as client:
            # If the clock was set back, the run would end before it began.
            begun = client.get_run(run_id).info.start_time
            client.set_terminated(run_id, status, max(int(time.time() * 1000) if at is None else at, begun))

    def attach_report(
        self, sweeps: Sequence[Sweep], files: Mapping[str, Path], note: str, metrics: Mapping[str, float], warning: str
    ) -> None:
        """Add a report's files, metrics and Markdown note to the parent runs of its sweeps."""
        # The record holds the run id of the store it was trained with; in another store the parent run has another id.
        found = [(self.parent(sweep.name, sweep.id) or self.run(sweep.parent_run_id or ""), sweep) for sweep in sweeps]
        for run_id, (run, sweep) in {run.info.run_id: (run, sweep) for run, sweep in found if run}.items():
            self.add_files(run_id, {f"report/{name}": path for name, path in files.items()})
            self.log_metrics(run_id, metrics)
            text = "\n\n".join(filter(None, [sweep.note, front.links(run.info.experiment_id, run_id), note]))
            self.set_tags(run_id, {describe.NOTE: text, "warning": warning})

    # --- queries

    @property
    def exists(self) -> bool:
        """Whether the store exists; querying a missing database would create it."""
        return self.address.kind != NONE and (self.address.database is None or self.address.database.exists())

    def run(self, run_id: str) -> Run | None:
        """Return the run, or None if it is deleted or not in this store."""
        if not self.exists:
            return None
        with self.connection.exclusive("look for a run") as client:
            return runs.get(client, run_id)

    def confirmed(self, noted: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
        """Return those ids in `noted`, as `publish` returned them, whose run is in the store, complete, with that key."""
        keys = {ids["run_id"]: key for key, ids in noted.items() if "run_id" in ids}
        if not keys or not self.exists:
            return {}
        with self.connection.exclusive("look for published runs") as client:
            found = runs.with_ids(client, sorted(keys))
        whole = [run for run in found if runs.ended(run) and runs.key_of(run) == keys[run.info.run_id]]
        return {keys[run.info.run_id]: runs.ids_of(run) | {"store": self.address.name} for run in whole}

    def recorded(self, name_or_key: str) -> RunResult | None:
        """Return the published run with this id, key or key prefix of at least 6 characters; None if there is none."""
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
        """Return the keys whose run a person deleted and that have no other run in the store."""
        from mlflow.entities import ViewType

        with self.connection.exclusive("look for deleted runs") as client:
            experiments = [found.experiment_id for found in client.search_experiments(ViewType.ALL)]
            found = runs.search(client, experiments, f"tags.`{KEY}` LIKE '%'", deleted=True)
        there = {runs.key_of(run) for run in found if not runs.deleted(run)}
        return {runs.key_of(run) for run in found if runs.REPLACED not in run.data.tags} - there

    def registered_keys(self) -> set[str]:
        """Return the keys of the runs whose networks are versions of a registered model."""
        with self.connection.exclusive("look for registered models") as client:
            versions = client.search_model_versions()
            found = runs.with_ids(client, [version.run_id for version in versions if version.run_id])
        return {version.tags[KEY] for version in versions if KEY in version.tags} | {runs.key_of(run) for run in found}


def _earlier(client: MlflowClient, experiment_id: str, parent: ParentRun) -> tuple[Run | None, dict[str, str]]:
    """Return the existing parent run of this sweep, or of one that it contains, and the tag with all their ids."""
    if parent.sweep_id is None:
        return None, {}
    found = _parents(client, experiment_id, parent.sweep_id, deleted=True)
    for smaller in parent.contains:
        found = found or _parents(client, experiment_id, smaller)
    ids = found[0].data.tags[SWEEP].split("\n") if found else []
    ids = list(dict.fromkeys([*ids, *parent.contains, parent.sweep_id]))[-MOST_IDS:]
    return (found[0] if found else None), {SWEEP: "\n".join(ids)}


def _parents(client: MlflowClient, experiment_id: str, sweep_id: str, *, deleted: bool = False) -> list[Run]:
    """Return the parent runs of a sweep, the one to use first. Normally there is at most one."""
    query = f"tags.`{SWEEP}` LIKE '%{sweep_id}%'"
    found = runs.search(client, [experiment_id], query, deleted=deleted)
    of_sweep = [run for run in found if sweep_id in run.data.tags[SWEEP].split("\n")]
    return sorted(of_sweep, key=runs.deleted)


class NullTracker(Tracker):
    """The tracker of `tracking=none`, which records nothing."""

    def _drop(self, *_: Any, **__: Any) -> Any:
        return ""

    publish = warm = begin = start = add = end = set_tags = log_metrics = _drop
