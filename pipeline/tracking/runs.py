"""How a RunResult is recorded in MLflow: one run for each key in an experiment, found by its tags, completed or replaced."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.errors import UserError
from pipeline.tracking import describe, files, process
from pipeline.tracking.describe import Point

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

    from pipeline.training.result import RunResult

RUNNING, FINISHED, FAILED, KILLED = "RUNNING", "FINISHED", "FAILED", "KILLED"
REPLACED = "replaced"
"""Tag of a run that another one took the place of, so that it was not deleted by a person."""
PAGE = 200
"""Runs to ask for at once: a server has to answer within its time."""
NAMED = 100
"""Runs to ask for by their ids at once."""
BATCH_METRICS, BATCH_PARAMETERS, BATCH_TAGS = 800, 100, 100
"""MLflow takes 1000 metrics, 100 parameters and 100 tags in one call, and 1000 of all together."""


@dataclass(frozen=True)
class Entry:
    """A RunResult and where it is to be recorded."""

    result: RunResult
    experiment_id: str
    parent: str | None
    dataset: Mapping[str, Any] | None
    origin: Mapping[str, str]
    """Tags that say who records, with which program."""
    artifacts: Path | None
    """Where this store keeps files, if that is for this project to say."""

    @cached_property
    def _metrics(self) -> tuple[list[Point], dict[str, str]]:
        return describe.metrics(self.result)

    @property
    def points(self) -> list[Point]:
        return self._metrics[0]

    @property
    def tags(self) -> dict[str, str]:
        return {**self.origin, **process.tag(), **describe.tags(self.result, self._metrics[1])}

    @cached_property
    def parameters(self) -> dict[str, str]:
        return describe.parameters(self.result)


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

    def has_all(self, entry: Entry) -> bool:
        """Whether it has the outcome and the values of `entry`. Times differ from one training to the next."""
        last = {point.name: point.value for point in entry.points if not point.name.startswith("time/")}
        same_values = all(self.metrics.get(name) == value for name, value in last.items())
        return self.outcome == entry.result.status and entry.parameters.keys() <= self.parameters and same_values


# --- writing


def record(client: MlflowClient, entry: Entry, live: dict[str, list[Point]], restore: bool = False) -> Row:
    """The run that a RunResult is recorded as. A run that a person deleted is returned as it is, unless `restore`.

    `live` has, by run id, what `start` and `send` wrote of runs that are training.
    """
    result, (start, end) = entry.result, describe.span(entry.result)
    row = find(client, result.key, entry.experiment_id)
    same_training = row is not None and (row.started == start or row.run_id in live)
    if row is not None and row.deleted:
        if not same_training:
            row = None  # Nobody deleted this training.
        elif not restore:
            return row
        else:
            client.restore_run(row.run_id)
            row = replace(row, deleted=False)
    if row is not None:
        row = adopt(client, row, entry.parent)
        entry = replace(entry, parent=row.parent)
        if row.ended and row.has_all(entry):
            return row
        if not same_training or (row.ended and row.outcome != result.status):
            # What is recorded of an earlier training cannot be taken back piece by piece.
            discard(client, row.run_id)
            row = None
    run_id = row.run_id if row else _create(client, entry, entry.tags)
    send(client, run_id, _missing(entry.points, live.get(run_id, [])), entry.parameters, entry.tags if row else {})
    files.check_folder(client, run_id, entry.artifacts)
    client.log_text(run_id, describe.provenance(result), describe.PROVENANCE)
    _describe_data(client, run_id, entry)
    state = FINISHED if result.finished else FAILED
    client.set_terminated(run_id, state, end)
    live.pop(run_id, None)
    metrics = {point.name: point.value for point in entry.points}
    return Row(run_id, entry.parent, state, result.status, start, False, frozenset(entry.parameters), metrics)


def start(client: MlflowClient, entry: Entry) -> str:
    """A run whose training has begun, RUNNING; its id. Empty if the key has a whole run, or one that trains elsewhere."""
    row = find(client, entry.result.key, entry.experiment_id)
    if row is not None and not row.deleted:
        if row.ended or (row.state == RUNNING and not process.alone(client.get_run(row.run_id).data.tags)):
            return ""
        discard(client, row.run_id)
    run_id = _create(client, entry, {name: value for name, value in entry.tags.items() if name != describe.STATUS})
    send(client, run_id, parameters=entry.parameters)
    _describe_data(client, run_id, entry)
    return run_id


def send(
    client: MlflowClient,
    run_id: str,
    points: Sequence[Point] = (),
    parameters: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write values of a run in one call, or in as few as MLflow's limits allow."""
    from mlflow.entities import Metric, Param, RunTag

    metrics = [Metric(point.name, point.value, point.time, point.step) for point in points]
    params = [Param(name, value) for name, value in (parameters or {}).items()]
    labels = [RunTag(name, describe.fit(value, describe.TAG_LIMIT)) for name, value in (tags or {}).items()]
    while metrics or params or labels:
        batch = metrics[:BATCH_METRICS], params[:BATCH_PARAMETERS], labels[:BATCH_TAGS]
        client.log_batch(run_id, *batch, synchronous=True)
        metrics, params, labels = metrics[BATCH_METRICS:], params[BATCH_PARAMETERS:], labels[BATCH_TAGS:]


def _create(client: MlflowClient, entry: Entry, tags: Mapping[str, str]) -> str:
    """A new run of MLflow, RUNNING and without numbers; its id."""
    own = dict(tags) | ({describe.PARENT: entry.parent} if entry.parent else {})
    name = describe.fit(entry.result.name, describe.NAME_LIMIT)
    return str(client.create_run(entry.experiment_id, describe.span(entry.result)[0], own, name).info.run_id)


def _describe_data(client: MlflowClient, run_id: str, entry: Entry) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(**describe.dataset(entry.result, entry.dataset))
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def _missing(points: Sequence[Point], sent: Sequence[Point]) -> list[Point]:
    """Points that were not sent, later than all that were: MLflow shows the value with the latest time."""
    there = {(point.name, point.step, point.value) for point in sent}
    missing = [point for point in points if (point.name, point.step, point.value) not in there]
    if not missing or not sent:
        return missing
    delay = max(0, max(point.time for point in sent) + 1 - min(point.time for point in missing))
    return [point._replace(time=point.time + delay) for point in missing]


def adopt(client: MlflowClient, row: Row, parent: str | None) -> Row:
    """Put a run under `parent`, unless it is under another one that exists."""
    if parent in (None, row.parent) or (row.parent and exists(client, row.parent)):
        return row
    client.set_tag(row.run_id, describe.PARENT, parent, synchronous=True)
    return replace(row, parent=parent)


def discard(client: MlflowClient, run_id: str) -> None:
    """Delete a run whose place another one takes."""
    client.set_tag(run_id, REPLACED, "true", synchronous=True)
    client.delete_run(run_id)


def origin() -> dict[str, str]:
    """Who started which program, in MLflow's own tags, which only its fluent interface sets."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    program = spec.name if spec else os.path.basename(sys.argv[0])
    return {"mlflow.user": user, "mlflow.source.name": program, "mlflow.source.type": "LOCAL"}


# --- looking up


def find(client: MlflowClient, key: str, experiment_id: str) -> Row | None:
    """The run of a key in an experiment: 2 ms, and 5 ms in a store of 3,000 runs."""
    found = search(client, [experiment_id], f"tags.`{describe.KEY}` = {quoted(key)}", deleted=True)
    rows = [Row.of(run) for run in found if not replaced(run)]
    return min(rows, key=lambda row: (row.deleted, not row.ended), default=None)


def search(
    client: MlflowClient, experiments: Sequence[str], query: str, limit: int | None = None, deleted: bool = False
) -> list[Run]:
    """Runs, newest first; with `deleted`, deleted ones too."""
    from mlflow.entities import ViewType

    view = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
    runs: list[Run] = []
    token: str | None = None
    while experiments:
        page = client.search_runs(
            list(experiments), query, view, limit or PAGE, ["attributes.start_time DESC"], page_token=token
        )
        runs += page
        token = page.token
        if not token or (limit and len(runs) >= limit):
            break
    return runs


def all_experiments(client: MlflowClient) -> list[str]:
    return [experiment.experiment_id for experiment in client.search_experiments()]


def with_ids(client: MlflowClient, run_ids: Sequence[str]) -> list[Run]:
    """Those of the runs with these ids that are in the store and not deleted."""
    experiments = all_experiments(client)
    runs: list[Run] = []
    for start in range(0, len(run_ids), NAMED):
        listed = ", ".join(quoted(run_id) for run_id in run_ids[start : start + NAMED])
        runs += search(client, experiments, f"attributes.run_id IN ({listed})")
    return runs


def exists(client: MlflowClient, run_id: str) -> bool:
    """Whether the run is in the store and not deleted."""
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False


def replaced(run: Run) -> bool:
    """Whether a run was deleted because another one took its place, not by a person."""
    return run.info.lifecycle_stage != "active" and REPLACED in run.data.tags


def quoted(value: str) -> str:
    """`value` as a word of MLflow's search language, which has no escapes."""
    if "'" not in value:
        return f"'{value}'"
    if '"' not in value:
        return f'"{value}"'
    raise UserError(f"{value}: cannot be looked up in MLflow with both kinds of quotes in it")
