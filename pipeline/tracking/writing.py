"""How a RunResult is written as a run of MLflow: created, completed or replaced, and never written twice."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pipeline.tracking import describe, process, runs
from pipeline.tracking.describe import Point
from pipeline.tracking.runs import FAILED, FINISHED, RUNNING, Row

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from pipeline.training.result import RunResult

BATCH_METRICS, BATCH_PARAMETERS, BATCH_TAGS = 800, 100, 100
"""MLflow takes 1000 metrics, 100 parameters and 100 tags in one call, and 1000 of all together."""


@dataclass
class Entry:
    """A RunResult and where it is to be recorded."""

    result: RunResult
    experiment_id: str
    parent: str | None
    dataset: Mapping[str, Any] | None
    origin: Mapping[str, str]
    """Tags that say who records, with which program."""
    tags: dict[str, str] = field(init=False)
    points: list[Point] = field(init=False)
    parameters: dict[str, str] = field(init=False)
    start: int = field(init=False)
    end: int = field(init=False)

    def __post_init__(self) -> None:
        self.points, nonfinite = describe.metrics(self.result)
        self.tags = {**self.origin, **process.tag(), **describe.tags(self.result, nonfinite)}
        self.parameters = describe.parameters(self.result)
        self.start, self.end = describe.span(self.result)

    def create(self, client: MlflowClient) -> str:
        """A new run of MLflow, RUNNING and without numbers; its id."""
        tags = self.tags | ({describe.PARENT: self.parent} if self.parent else {})
        name = fit_name(self.result.name)
        return str(client.create_run(self.experiment_id, self.start, tags, name).info.run_id)

    def describe_data(self, client: MlflowClient, run_id: str) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        kept = Dataset(**describe.dataset(self.result, self.dataset))
        client.log_inputs(run_id, [DatasetInput(kept, [InputTag("mlflow.data.context", "training")])])


def record(client: MlflowClient, entry: Entry, live: dict[str, list[Point]], restore: bool = False) -> Row:
    """The run that a RunResult is recorded as. A run that a person deleted is returned as it is, unless `restore`.

    `live` has, by run id, what `start` and `send` wrote of runs that are training.
    """
    status = entry.result.status
    row = runs.find(client, entry.result.key, entry.experiment_id)
    same_training = row is not None and (row.started == entry.start or row.run_id in live)
    if row is not None and row.deleted:
        if not same_training:
            row = None  # Nobody deleted this training.
        elif not restore:
            return row
        else:
            client.restore_run(row.run_id)
            row = replace(row, deleted=False)
    if row is not None:
        row = runs.adopt(client, row, entry.parent)
        entry.parent = row.parent
        if row.ended and row.outcome == status and not row.lacks(entry.points, entry.parameters):
            return row
        if not same_training or (row.ended and row.outcome != status):
            # What is recorded of an earlier training cannot be taken back piece by piece.
            runs.discard(client, row.run_id)
            row = None
    run_id = row.run_id if row else entry.create(client)
    send(client, run_id, _missing(entry.points, live.get(run_id, [])), entry.parameters, entry.tags if row else {})
    entry.describe_data(client, run_id)
    state = FINISHED if entry.result.finished else FAILED
    client.set_terminated(run_id, state, entry.end)
    live.pop(run_id, None)
    metrics = {point.name: point.value for point in entry.points}
    return Row(run_id, entry.parent, state, status, entry.start, False, frozenset(entry.parameters), metrics)


def start(client: MlflowClient, entry: Entry) -> str:
    """A run whose training has begun, RUNNING; its id. Empty if the key has a whole run, or one that trains elsewhere."""
    row = runs.find(client, entry.result.key, entry.experiment_id)
    if row is not None and not row.deleted:
        if row.ended or (row.state == RUNNING and not process.alone(client.get_run(row.run_id).data.tags)):
            return ""
        runs.discard(client, row.run_id)
    del entry.tags[describe.STATUS]
    run_id = entry.create(client)
    send(client, run_id, [], entry.parameters, {})
    entry.describe_data(client, run_id)
    return run_id


def send(
    client: MlflowClient,
    run_id: str,
    points: Sequence[Point],
    parameters: Mapping[str, str],
    tags: Mapping[str, str],
) -> None:
    """Write values of a run in one call, or in as few as MLflow's limits allow."""
    from mlflow.entities import Metric, Param, RunTag

    metrics = [Metric(point.name, point.value, point.time, point.step) for point in points]
    params = [Param(name, value) for name, value in parameters.items()]
    labels = [RunTag(name, describe.fit(str(value), describe.TAG_LIMIT)) for name, value in tags.items()]
    while metrics or params or labels:
        batch = metrics[:BATCH_METRICS], params[:BATCH_PARAMETERS], labels[:BATCH_TAGS]
        client.log_batch(run_id, *batch, synchronous=True)
        metrics, params, labels = metrics[BATCH_METRICS:], params[BATCH_PARAMETERS:], labels[BATCH_TAGS:]


def fit_name(name: str) -> str:
    return describe.fit(name, describe.NAME_LIMIT)


def origin() -> dict[str, str]:
    """Who started which program, in MLflow's own tags, which only its fluent interface sets."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    program = spec.name if spec else os.path.basename(sys.argv[0])
    return {"mlflow.user": user, "mlflow.source.name": program, "mlflow.source.type": "LOCAL"}


def _missing(points: Sequence[Point], sent: Sequence[Point]) -> list[Point]:
    """Points that were not sent, later than all that were: MLflow shows the value with the latest time."""
    there = {(point.name, point.step, point.value) for point in sent}
    last = max((point.time for point in sent), default=0)
    missing = [point for point in points if (point.name, point.step, point.value) not in there]
    return [point._replace(time=max(point.time, last + 1)) for point in missing]
