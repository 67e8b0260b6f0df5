"""Tracker: Results in, MLflow runs out. One for a whole process; safe to use from several threads."""

from __future__ import annotations

import getpass
import logging
import math
import os
import re
import shlex
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from pipeline.cli.errors import UserError
from pipeline.tracking import describe, process, store, views
from pipeline.tracking.address import HTTP, Address, conceal
from pipeline.tracking.store import TrackingUnavailable
from pipeline.tracking.transaction import one_transaction

if TYPE_CHECKING:
    import filelock
    import numpy as np
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

    from pipeline.training.result import Result

RUNNING, FINISHED, FAILED, KILLED = "RUNNING", "FINISHED", "FAILED", "KILLED"
SWEEP, REPLACED = "sweep.id", "replaced"
SWEEPS = 100
"""Ids of sweeps that the run of one that grew keeps: MLflow takes 8,000 letters."""
LOCK_SECONDS = 120
BATCH_METRICS, BATCH_PARAMETERS, BATCH_TAGS = 800, 100, 100
"""MLflow takes 1000 metrics, 100 parameters and 100 tags in one call, and 1000 of all together."""


REQUIRED = {
    # A write that comes back before it is done may fail unseen.
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    # A server that was only late has done what it was asked for; the same call again would make a second run.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    # What is too long we cut ourselves, and say so.
    "MLFLOW_TRUNCATE_LONG_VALUES": "true",
}
"""Variables of MLflow that decide what becomes of a write: set, whatever the environment says."""
PREFERRED = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
"""Variables of MLflow for which the environment may have another value."""


@dataclass(frozen=True)
class Row:
    """What the store has of a run."""

    run_id: str
    parent: str | None
    state: str
    """MLflow's status: RUNNING, FINISHED …"""
    outcome: str
    """Ours: `finished`, `diverged` or `failed`."""
    started: int
    """When its training began, in milliseconds since 1970."""
    deleted: bool
    parameters: frozenset[str]
    metrics: Mapping[str, float]

    @classmethod
    def of(cls, run: Run) -> Row:
        tags, info = run.data.tags, run.info
        return cls(
            info.run_id,
            tags.get(describe.PARENT),
            info.status,
            tags.get(describe.STATUS, ""),
            int(started) if (started := tags.get(describe.STARTED, "")).isdecimal() else info.start_time,
            info.lifecycle_stage != "active",
            frozenset(run.data.params),
            run.data.metrics,
        )

    @property
    def ended(self) -> bool:
        return self.state in (FINISHED, FAILED)

    def lacks(self, points: Sequence[describe.Point], parameters: Mapping[str, str]) -> bool:
        """Whether something of the record is missing, or has another value. Times differ from one training to the next."""
        last = {point.name: point.value for point in points if not point.name.startswith("time/")}
        return not parameters.keys() <= self.parameters or any(
            self.metrics.get(name) != value for name, value in last.items()
        )


class Tracker:
    """Records runs in the MLflow store at `address`. Every method raises TrackingUnavailable where that fails."""

    def __init__(self, address: Address, origin: Mapping[str, str] | None = None) -> None:
        self.address = address
        self.origin = dict(_origin() if origin is None else origin)
        """Who records, by which program."""
        self._threads = threading.RLock()
        self._client_made: MlflowClient | None = None
        self._file_lock: filelock.BaseFileLock | None = None
        self._experiments: dict[str, str] = {}
        self._rows: dict[str, dict[str, Row]] = {}
        """Runs by key, by experiment."""
        self._listed: set[str] = set()
        """Experiments whose runs are all in `_rows`, for as long as nobody else writes to the store."""
        self._seen: bytes | None = None
        """SQLite's counter of changes after our last one."""
        self._live: dict[str, list[describe.Point]] = {}
        """What was sent of each run that is training, by run id."""
        self._file: tuple[int, int] | None = None
        """The SQLite file that was opened: MLflow would go on writing to one that was deleted."""

    @property
    def uri(self) -> str:
        return self.address.uri

    @property
    def shown_uri(self) -> str:
        """The address without user and password."""
        return self.address.shown

    def warm(self) -> threading.Thread:
        """Import MLflow and open the store in the background, so that training need not wait for it (3 to 4 s).

        What goes wrong there goes wrong again, and is reported, when something is recorded.
        """

        def open_store() -> None:
            try:
                self._ready()
            except Exception as error:
                logging.getLogger(__name__).debug("tracking could not be opened yet: %s", self._cause(error))

        thread = threading.Thread(target=open_store, name="tracking-warm", daemon=True)
        thread.start()
        return thread

    def begin(
        self,
        experiment: str,
        name: str,
        tags: Mapping[str, str],
        sweep_id: str | None = None,
        start: int | None = None,
        grown: Sequence[str] = (),
        restore: bool = True,
    ) -> str:
        """The run that stands for a whole sweep, RUNNING; its id. `start`: when, in milliseconds since 1970, if not now.

        Processes that give one `sweep_id` share one run, and a sweep that is taken up again finds its old one. `grown` are
        ids of sweeps whose runs are all part of this one, which takes over the run of the first that has one. One that a
        person deleted comes back with `restore`; else the id is empty.
        Runs that dead processes left RUNNING are marked KILLED on the way.
        """
        with self.recording(f"begin {name}") as client:
            experiment_id = self.experiment(client, experiment)
            self._close_stale(client)
            self._list(client, experiment_id)
            told = self.origin | {key: describe.fit(str(value), describe.TAG_LIMIT) for key, value in tags.items()}
            if sweep_id is None:
                return client.create_run(experiment_id, start, told | process.tag(), name).info.run_id
            found = [run for run in self.parents(client, experiment_id, sweep_id, deleted=True) if _by_person(run)]
            for one in grown:
                found = found or self.parents(client, experiment_id, one)
            ids = [] if not found else found[0].data.tags[SWEEP].split("\n")
            told[SWEEP] = "\n".join(list(dict.fromkeys([*ids, *grown, sweep_id]))[-SWEEPS:])
            if not found:
                return client.create_run(experiment_id, start, told | process.tag(), _name(name)).info.run_id
            run = found[0]
            if run.info.lifecycle_stage != "active":
                if not restore:
                    return ""
                client.restore_run(run.info.run_id)
            client.update_run(run.info.run_id, status=RUNNING, name=_name(name))
            self._set_tags(client, run.info.run_id, told | process.tag(run.data.tags.get(process.TAG)))
            return run.info.run_id

    def publish(
        self,
        result: Result,
        experiment: str,
        parent: str | None = None,
        dataset: Mapping[str, Any] | None = None,
        restore: bool = False,
    ) -> dict[str, str]:
        """Record `result` as one run: parameters, metrics by epoch, tags, data set, times, status. Its ids.

        A key has one run in an experiment, under the parent that it had first: published again, it gives the same ids.
        What is missing of it is completed; a run that failed then and finished now takes the failed one's place. One that
        a person deleted stays so, and the ids are none; `restore` brings it back.
        `dataset` is described at `describe.dataset`.
        """
        with self.recording(f"publish {result.name}") as client:
            experiment_id = self.experiment(client, experiment)
            row = self.record(client, result, experiment_id, parent or None, dataset, restore)
            return {} if row.deleted else self.ids(row.run_id, experiment_id, row.parent, result.status)

    def start(
        self, result: Result, experiment: str, parent: str | None = None, dataset: Mapping[str, Any] | None = None
    ) -> str:
        """A run whose training has begun, RUNNING; its id. `publish` completes it.

        `result` has no numbers yet. Empty where the key has a whole run, or one that another process is training.
        """
        with self.recording(f"start {result.name}") as client:
            experiment_id = self.experiment(client, experiment)
            row = self._row(client, result.key, experiment_id)
            if row is not None and not row.deleted:
                tags = client.get_run(row.run_id).data.tags
                if row.ended or (row.state == RUNNING and not process.alone(tags)):
                    return ""
                self.discard(client, row.run_id)
            told = self.origin | process.tag() | describe.tags(result, {})
            del told[describe.STATUS]
            if parent:
                told[describe.PARENT] = parent
            begun, parameters = describe.span(result)[0], describe.parameters(result)
            run_id = client.create_run(experiment_id, begun, told, _name(result.name)).info.run_id
            self._live[run_id] = []
            row = Row(run_id, parent or None, RUNNING, "", begun, False, frozenset(parameters), {})
            self._keep(experiment_id, result.key, row)
            self._send(client, run_id, [], parameters, {})
            client.log_inputs(run_id, [_dataset_input(describe.dataset(result, dataset))])
            return run_id

    def add(self, run_id: str, points: Sequence[describe.Point]) -> None:
        """More of the curves of a run that `start` began."""
        with self.recording("add to a curve") as client:
            self._send(client, run_id, points, {}, {})
            self._live[run_id] += points

    def join(self, experiment: str, parent: str) -> None:
        """Before runs are published under a parent that another process began: what is there need not be looked for then."""
        with self.recording("look up the runs of a sweep") as client:
            self._list(client, self.experiment(client, experiment))

    @property
    def _page(self) -> int:
        """Runs to ask for at once: a server has to answer within its time."""
        return 200 if self.uri.startswith(HTTP) else 1000

    def ids(self, run_id: str, experiment_id: str, parent: str | None, status: str) -> dict[str, str]:
        known = {"run_id": run_id, "experiment_id": experiment_id, "parent_run_id": parent or ""}
        return known | {"store": self.address.name, "status": status}

    def end(self, run_id: str, status: str, at: int | None = None) -> None:
        """Close a run as FINISHED, FAILED or KILLED, now or `at` so many milliseconds since 1970."""
        if status not in (FINISHED, FAILED, KILLED):
            raise ValueError(f"status {status!r}: expected {FINISHED}, {FAILED} or {KILLED}")
        with self.recording("end a run") as client:
            # Where the clock stepped back meanwhile, a run would end before it began.
            begun = client.get_run(run_id).info.start_time
            client.set_terminated(run_id, status, max(int(time.time() * 1000) if at is None else at, begun))

    def log_metrics(self, run_id: str, metrics: Mapping[str, float]) -> None:
        """Single numbers of a run, at step 0; one that is not finite becomes part of the tag `nonfinite`.

        What stands there already is not written a second time.
        """
        now = int(time.time() * 1000)
        lost = ", ".join(f"{name}={value}" for name, value in metrics.items() if not math.isfinite(value))
        with self.recording("log metrics") as client:
            there = client.get_run(run_id).data.metrics
            new = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
            points = [describe.Point(name, value, 0, now) for name, value in new.items() if there.get(name) != value]
            self._send(client, run_id, points, {}, {describe.NONFINITE: lost} if lost else {})

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Tags of a run; one without a value is taken away, since there is no longer anything to say."""
        with self.recording("set tags") as client:
            self._set_tags(client, run_id, {name: value for name, value in tags.items() if value})
            if empty := [name for name, value in tags.items() if not value]:
                there = client.get_run(run_id).data.tags
                for name in empty:
                    if name in there:
                        client.delete_tag(run_id, name)

    def set_note(self, run_id: str, markdown: str) -> None:
        """The description on the run's page. MLflow keeps 8,000 characters: the rest is cut, at a line, and says so."""
        if len(markdown) > describe.TAG_LIMIT:
            rest = "\n\n_… cut: MLflow keeps 8,000 characters of a description._"
            markdown = markdown[: describe.TAG_LIMIT - len(rest)].rpartition("\n")[0] + rest
        self.set_tags(run_id, {describe.NOTE: markdown})

    def add_files(self, run_id: str, files: Mapping[str, Path]) -> None:
        """Put files (or whole folders) under a run, each at its own path within the run's files."""
        for name, path in files.items():
            parts = PurePosixPath(name).parts
            if not parts or ".." in parts or name.startswith("/") or "\\" in name or name != str(PurePosixPath(name)):
                raise UserError(f"{name!r}: expected a plain path within the run's files, such as figures/gap.png")
            if not Path(path).exists():
                raise UserError(f"{path}: no such file to put under a run as {name}")
        with self.recording("add files") as client:
            self._check_artifacts(client, run_id)
            for name, path in files.items():
                folder = str(PurePosixPath(name).parent)
                if Path(path).is_dir():
                    client.log_artifacts(run_id, str(path), name)
                elif Path(path).name == PurePosixPath(name).name:
                    client.log_artifact(run_id, str(path), None if folder == "." else folder)
                else:
                    with open(path, "rb") as stream:
                        client.log_stream(run_id, stream, name)

    def log_model(self, run_id: str, model: Any, example: np.ndarray) -> str:
        """Keep a Keras model with a run, for `mlflow.pyfunc.load_model("runs:/<run_id>/model")`; the model's id.

        `example` is a sample or more of what it is fed: dtype and shape become its signature.
        """
        with self.recording("log a model") as client:
            from pipeline.tracking import models

            self._check_artifacts(client, run_id)
            return models.log(client, run_id, model, example)

    def parent(self, experiment: str, sweep_id: str) -> str | None:
        """The run that stands for a sweep in this store, whichever store the sweep was trained with; None where there is none."""
        with self.recording("look for a sweep") as client:
            found = client.get_experiment_by_name(experiment)
            runs = self.parents(client, found.experiment_id, sweep_id) if found else []
            return runs[0].info.run_id if runs else None

    def there(self, run_id: str) -> bool:
        """Whether the run is in this store, and not deleted."""
        with self.recording("look for a run") as client:
            return self._there(client, run_id)

    def recorded(self, word: str) -> Result | None:
        """The run of this id or key (or the first 6 letters or more of a key), as it was published; None where there is none."""
        database = self.address.database
        if (database is not None and not database.exists()) or not re.fullmatch("[0-9a-f]{6,64}", word):
            return None
        from pipeline.tracking import restore

        with self.recording(f"look for {word}") as client:
            experiments = [experiment.experiment_id for experiment in client.search_experiments()]
            query = f"tags.`{describe.KEY}` LIKE '{word}%'"
            if len(word) == 32:
                query = f"attributes.run_id = '{word}'"
            for run in self.search(client, experiments, query) if experiments else []:
                if {describe.KEY, describe.STATUS} <= run.data.tags.keys():
                    histories = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
                    return restore.result(run, histories)
        return None

    def published_keys(self) -> dict[str, str] | None:
        """Key by run id of every run of this project that ended in the store; None where there is no store."""
        database = self.address.database
        if database is not None and not database.exists():
            return None
        with self.recording("list the runs") as client:
            experiments = [experiment.experiment_id for experiment in client.search_experiments()]
            runs = self.search(client, experiments, f"tags.`{describe.STATUS}` LIKE '%'") if experiments else []
            return {run.info.run_id: key for run in runs if (key := run.data.tags.get(describe.KEY))}

    def close_stale(self) -> list[str]:
        """Mark KILLED every run that is RUNNING though the processes of this machine that worked on it are gone."""
        with self.recording("close stale runs") as client:
            return self._close_stale(client)

    @contextmanager
    def recording(self, what: str) -> Iterator[MlflowClient]:
        """The client, with both locks held: one writer per store, or SQLite's writers time one another out."""
        with self._threads, self.failing(what):
            client = self._ready()
            with self._exclusive():
                self._look_after_file()
                if self._changes() != self._seen:
                    # Another process writes: it may publish the runs of the same sweep.
                    self._listed.clear()
                yield client
                self._seen = self._changes()

    @contextmanager
    def failing(self, what: str) -> Iterator[None]:
        """What the store or its server raises, as TrackingUnavailable."""
        try:
            yield
        except _failures() as error:
            cause = self._cause(error)
            raise TrackingUnavailable(f"tracking at {self.shown_uri}: could not {what}: {cause}") from error

    def _cause(self, error: BaseException) -> str:
        told = conceal(str(error), self.uri)
        if unanswered := re.search(r"Failed to establish a new connection: (?:\[Errno -?\d+\] )?([\w ]+)", told):
            return f"no connection ({unanswered[1].lower()}); is the server up?"
        lines = [line.strip() for line in told.splitlines() if line.strip()]
        return lines[0] if lines else type(error).__name__

    def _exclusive(self) -> filelock.BaseFileLock:
        if self._file_lock is None:
            from filelock import FileLock

            lock = self.address.lock
            assert lock is not None  # for the type checker: every address but `none` has one
            lock.parent.mkdir(parents=True, exist_ok=True)
            self._file_lock = FileLock(lock, timeout=LOCK_SECONDS, poll_interval=0.005, thread_local=False)
        return self._file_lock

    def _ready(self) -> MlflowClient:
        """The client; the first time it imports MLflow and makes the store where there is none."""
        with self._threads:
            if self._client_made is None:
                mlflow_client = _import_mlflow()
                with self._exclusive():
                    store.prepare(self.address)
                    try:
                        self._client_made = mlflow_client(self.uri, self.uri)
                    except ModuleNotFoundError as error:
                        known = "; the one for PostgreSQL here is asked for by postgresql+psycopg2://…"
                        raise UserError(f"{self.shown_uri}: its driver {error.name} is not installed{known}") from error
                    if self.address.database is not None:
                        self._file = _file(self.address.database)
            return self._client_made

    def _look_after_file(self) -> None:
        """Raises TrackingUnavailable where the SQLite file was deleted or replaced since, or another program holds it."""
        database = self.address.database
        if database is None:
            return
        if not database.exists() or _file(database) != self._file:
            what = "was replaced" if database.exists() else "is gone"
            raise TrackingUnavailable(
                f"{database} {what} while this command ran, and with it what was recorded there; runs are sent again"
                " from their records by: python -m pipeline.publish"
            )
        store.wait_until_free(database)

    def experiment(self, client: MlflowClient, name: str) -> str:
        if name not in self._experiments:
            found = client.get_experiment_by_name(name)
            if found is None:
                artifacts = self.address.artifacts
                location = artifacts.as_uri() if artifacts else None
                self._experiments[name] = client.create_experiment(name, location, views.experiment_tags())
            elif found.lifecycle_stage != "active":
                restore = f"{shlex.quote(sys.executable)} -m mlflow experiments restore --experiment-id"
                raise UserError(
                    f"the MLflow experiment {name!r} was deleted; restore it with:"
                    f" MLFLOW_TRACKING_URI={shlex.quote(self.shown_uri)} {restore} {found.experiment_id}"
                )
            else:
                self._experiments[name] = found.experiment_id
        return self._experiments[name]

    def _check_artifacts(self, client: MlflowClient, run_id: str) -> None:
        """MLflow keeps the absolute path of an experiment's files: in a checkout that was moved, it would make the old
        folder again and show no picture of before."""
        parts = urlsplit(client.get_run(run_id).info.artifact_uri)
        ours = self.address.artifacts
        if parts.scheme not in ("", "file") or ours is None:
            return
        theirs = next((path for path in Path(unquote(parts.path)).parents if path.name == ours.name), ours)
        if theirs != ours and not theirs.exists():
            made, link = shlex.quote(str(theirs.parent)), f"{shlex.quote(str(ours))} {shlex.quote(str(theirs))}"
            raise UserError(
                f"MLflow looks for the files of this experiment in {theirs}, which is gone (was the project moved?);"
                f" lead it to them with: mkdir -p {made} {shlex.quote(str(ours))} && ln -s {link}"
            )

    def search(
        self,
        client: MlflowClient,
        experiments: Sequence[str],
        query: str,
        limit: int | None = None,
        deleted: bool = False,
    ) -> list[Run]:
        """Runs, the newest first; with `deleted` those too that were deleted."""
        from mlflow.entities import ViewType

        view = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
        runs: list[Run] = []
        token: str | None = None
        newest = ["attributes.start_time DESC"]
        while True:
            page = client.search_runs(
                list(experiments), query, view, max_results=limit or self._page, order_by=newest, page_token=token
            )
            runs += page
            token = page.token
            if not token or (limit and len(runs) >= limit):
                return runs

    def parents(self, client: MlflowClient, experiment_id: str, sweep_id: str, *, deleted: bool = False) -> list[Run]:
        """The runs that stand for a sweep, the one to take first; there is one, but for accidents."""
        query = f"tags.`{SWEEP}` LIKE {quoted(f'%{sweep_id}%')}"
        runs = self.search(client, [experiment_id], query, deleted=deleted)
        found = [run for run in runs if sweep_id in run.data.tags[SWEEP].split("\n")]
        return sorted(found, key=lambda run: run.info.lifecycle_stage != "active")

    def record(
        self,
        client: MlflowClient,
        result: Result,
        experiment_id: str,
        parent: str | None,
        dataset: Mapping[str, Any] | None,
        restore: bool = False,
    ) -> Row:
        """The run that `result` is recorded as, by whoever holds the locks."""
        start, end = describe.span(result)
        points, lost = describe.metrics(result)
        parameters = describe.parameters(result)
        row = self._row(client, result.key, experiment_id)
        same = row is not None and (row.started == start or row.run_id in self._live)
        if row is not None and row.deleted:
            if not same:
                row = None  # Another training, which nobody deleted.
            elif not restore:
                return row
            else:
                client.restore_run(row.run_id)
                row = replace(row, deleted=False)
        if row is not None:
            row = self._adopted(client, row, parent)
            parent = row.parent
            if row.ended and row.outcome == result.status and not row.lacks(points, parameters):
                self._keep(experiment_id, result.key, row)
                return row
            if not same or (row.ended and row.outcome != result.status):
                # Another training: what is recorded of the earlier one cannot be taken back piece by piece.
                self.discard(client, row.run_id)
                row = None
        # Should this not come to its end, the next attempt has to look for what it left.
        whole = experiment_id in self._listed
        self._listed.discard(experiment_id)
        told = self.origin | process.tag() | describe.tags(result, lost)
        if parent is not None:
            told[describe.PARENT] = parent
        new = points if row is None else _not_sent(points, self._live.get(row.run_id, []))
        with nullcontext() if row else one_transaction(client):
            name = _name(result.name)
            run_id = row.run_id if row else client.create_run(experiment_id, start, told, name).info.run_id
            self._send(client, run_id, new, parameters, told if row else {})
            client.log_inputs(run_id, [_dataset_input(describe.dataset(result, dataset))])
            state = FINISHED if result.finished else FAILED
            client.set_terminated(run_id, state, end)
        self._live.pop(run_id, None)
        if whole:
            self._listed.add(experiment_id)
        values = {point.name: point.value for point in points}
        row = Row(run_id, parent, state, result.status, start, False, frozenset(parameters), values)
        self._keep(experiment_id, result.key, row)
        return row

    def _keep(self, experiment_id: str, key: str, row: Row) -> None:
        self._rows.setdefault(experiment_id, {})[key] = row

    def _row(self, client: MlflowClient, key: str, experiment_id: str) -> Row | None:
        """What the store has of a key. Looking for it takes 2 ms, and 5 ms in a store of 3,000 runs."""
        if experiment_id in self._listed:
            return self._rows.get(experiment_id, {}).get(key)
        return self._find(client, key, experiment_id)

    def _find(self, client: MlflowClient, key: str, experiment_id: str) -> Row | None:
        runs = self.search(client, [experiment_id], f"tags.`{describe.KEY}` = {quoted(key)}", deleted=True)
        return _best(runs)

    def _list(self, client: MlflowClient, experiment_id: str) -> None:
        """Know the runs of an experiment, so that none need be looked for; not where a killed process left a half one."""
        if self.address.database is None or experiment_id in self._listed:
            return
        by_key: dict[str, list[Run]] = {}
        for run in self.search(client, [experiment_id], f"tags.`{describe.KEY}` LIKE '%'", deleted=True):
            by_key.setdefault(run.data.tags[describe.KEY], []).append(run)
        rows = {key: row for key, runs in by_key.items() if (row := _best(runs))}
        self._rows[experiment_id] = rows
        self._listed.add(experiment_id)

    def _adopted(self, client: MlflowClient, row: Row, parent: str | None) -> Row:
        """The run under `parent`, unless another sweep has it."""
        if parent in (None, row.parent) or (row.parent and self._there(client, row.parent)):
            return row
        client.set_tag(row.run_id, describe.PARENT, parent, synchronous=True)
        return replace(row, parent=parent)

    def _there(self, client: MlflowClient, run_id: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            return bool(client.get_run(run_id).info.lifecycle_stage == "active")
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False

    def discard(self, client: MlflowClient, run_id: str) -> None:
        """Delete a run whose place another one takes: it is none that a person deleted."""
        client.set_tag(run_id, REPLACED, "true", synchronous=True)
        client.delete_run(run_id)

    def _changes(self) -> bytes | None:
        """SQLite's counter in the header of its file, which every transaction of anybody moves on."""
        if self.address.database is None:
            return None
        with open(self.address.database, "rb") as file:
            return file.read(28)[24:]

    def _send(
        self,
        client: MlflowClient,
        run_id: str,
        points: Sequence[describe.Point],
        parameters: Mapping[str, str],
        tags: Mapping[str, str],
    ) -> None:
        """All of a run in one call, or in as few as MLflow's limits allow."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(point.name, point.value, point.time, point.step) for point in points]
        params = [Param(name, value) for name, value in parameters.items()]
        labels = [RunTag(name, value) for name, value in tags.items()]
        while metrics or params or labels:
            batch = metrics[:BATCH_METRICS], params[:BATCH_PARAMETERS], labels[:BATCH_TAGS]
            client.log_batch(run_id, *batch, synchronous=True)
            metrics, params, labels = metrics[BATCH_METRICS:], params[BATCH_PARAMETERS:], labels[BATCH_TAGS:]

    def _set_tags(self, client: MlflowClient, run_id: str, tags: Mapping[str, str]) -> None:
        fitting = {name: describe.fit(str(value), describe.TAG_LIMIT) for name, value in tags.items()}
        self._send(client, run_id, [], {}, fitting)

    def _close_stale(self, client: MlflowClient) -> list[str]:
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        ours = f"tags.`{process.TAG}` LIKE '%{process.host()}%'"
        running = self.search(client, experiments, f"attributes.status = '{RUNNING}' and {ours}")
        stale = [run for run in running if process.dead(run.data.tags)]
        for run in stale:
            of_it = f"tags.`{describe.PARENT}` = {quoted(run.info.run_id)}"
            children = self.search(client, [run.info.experiment_id], of_it, limit=1)
            # It died at a time unknown, not before its last child ended.
            last = max([run.info.start_time, *(child.info.end_time or 0 for child in children)])
            client.set_terminated(run.info.run_id, KILLED, last)
        return [run.info.run_id for run in stale]


class NullTracker(Tracker):
    """`tracking=none`: the same words, and nothing happens."""

    def recording(self, what: str) -> Any:
        raise UserError(f"tracking=none: there is no store to {what} in")

    def warm(self) -> threading.Thread:
        thread = threading.Thread(target=lambda: None)
        thread.start()
        return thread

    def begin(
        self,
        experiment: str,
        name: str,
        tags: Mapping[str, str],
        sweep_id: str | None = None,
        start: int | None = None,
        grown: Sequence[str] = (),
        restore: bool = True,
    ) -> str:
        return ""

    def publish(
        self,
        result: Result,
        experiment: str,
        parent: str | None = None,
        dataset: Mapping[str, Any] | None = None,
        restore: bool = False,
    ) -> dict[str, str]:
        return {}

    def start(
        self, result: Result, experiment: str, parent: str | None = None, dataset: Mapping[str, Any] | None = None
    ) -> str:
        return ""

    def add(self, run_id: str, points: Sequence[describe.Point]) -> None:
        pass

    def join(self, experiment: str, parent: str) -> None:
        return

    def end(self, run_id: str, status: str, at: int | None = None) -> None:
        pass

    def log_metrics(self, run_id: str, metrics: Mapping[str, float]) -> None:
        pass

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        pass

    def set_note(self, run_id: str, markdown: str) -> None:
        pass

    def add_files(self, run_id: str, files: Mapping[str, Path]) -> None:
        pass

    def log_model(self, run_id: str, model: Any, example: np.ndarray) -> str:
        return ""

    def parent(self, experiment: str, sweep_id: str) -> str | None:
        return None

    def there(self, run_id: str) -> bool:
        return False

    def recorded(self, word: str) -> Result | None:
        return None

    def published_keys(self) -> dict[str, str] | None:
        return None

    def close_stale(self) -> list[str]:
        return []


def _import_mlflow() -> type[MlflowClient]:
    """MLflow's client, told to keep quiet and to itself: it would report each call to its makers, print addresses and
    migrations, and block for four minutes where a server is down."""
    for name, value in PREFERRED.items():
        os.environ.setdefault(name, value)
    os.environ.update(REQUIRED)
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # It logs a traceback of what it also raises.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    return MlflowClient


def _failures() -> tuple[type[BaseException], ...]:
    """What a store or a server raises when it fails, rather than us."""
    failures: tuple[type[BaseException], ...] = (OSError,)
    if "mlflow" in sys.modules:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        failures += (MlflowException, SQLAlchemyError)
    return failures


def _file(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _name(name: str) -> str:
    return describe.fit(name, describe.NAME_LIMIT)


def _not_sent(points: Sequence[describe.Point], sent: Sequence[describe.Point]) -> list[describe.Point]:
    """What is missing of `points`, later than all that was sent: the last value by time is the one that MLflow shows."""
    there = {(point.name, point.step, point.value) for point in sent}
    last = max((point.time for point in sent), default=0)
    missing = [point for point in points if (point.name, point.step, point.value) not in there]
    return [point._replace(time=max(point.time, last + 1)) for point in missing]


def _by_person(run: Run) -> bool:
    """Whether a run is there, or was deleted by a person rather than by us."""
    return run.info.lifecycle_stage == "active" or REPLACED not in run.data.tags


def _best(runs: Sequence[Run]) -> Row | None:
    """Of the runs of one key, the one that counts: one that is there, a whole one first."""
    rows = [Row.of(run) for run in runs if _by_person(run)]
    return min(rows, key=lambda row: (row.deleted, not row.ended), default=None)


def _dataset_input(kept: Mapping[str, str]) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return DatasetInput(Dataset(**kept), [InputTag("mlflow.data.context", "training")])


def _origin() -> dict[str, str]:
    """Who started which program, as MLflow's own tags; its fluent interface alone sets them."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    program = spec.name if spec else os.path.basename(sys.argv[0])
    return {"mlflow.user": user, "mlflow.source.name": program, "mlflow.source.type": "LOCAL"}


def quoted(value: str) -> str:
    """`value` as a word of MLflow's search language, which has no escapes."""
    if "'" not in value:
        return f"'{value}'"
    if '"' not in value:
        return f'"{value}"'
    raise UserError(f"{value}: cannot be looked up in MLflow with both kinds of quotes in it")
