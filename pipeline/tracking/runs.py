"""Record RunResults in MLflow: one run per key and experiment, found by its tags, completed or replaced."""

from __future__ import annotations

import getpass
import os
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pipeline.cli.errors import UserError
from pipeline.tracking import describe, process
from pipeline.tracking.describe import Point

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

    from pipeline.training.result import RunResult

RUNNING, FINISHED, FAILED, KILLED = "RUNNING", "FINISHED", "FAILED", "KILLED"
REPLACED = "replaced"
"""Tag of a run that was deleted because another one replaced it, not by a person."""
PAGE = 200
"""Runs per query, so that a server answers before the timeout."""
BATCH_METRICS, BATCH_PARAMETERS, BATCH_TAGS = 800, 100, 100
"""MLflow accepts 1000 metrics, 100 parameters and 100 tags per call, and 1000 in total."""
LARGEST_TEXT = 2**24


@dataclass(frozen=True)
class Entry:
    """A RunResult and where to record it."""

    result: RunResult
    experiment_id: str
    parent: str | None
    name: str
    """The run's name in MLflow."""
    tags: Mapping[str, str]
    artifacts: Path | None
    """The artifact folder, or None if the server decides."""


# --- writing


def record(client: MlflowClient, entry: Entry, live: dict[str, list[Point]], restore: bool = False) -> dict[str, str]:
    """Record a RunResult and return the ids of its run; none if a person deleted the run and `restore` is False.

    `live` holds, by run id, the points already sent for the runs in training.
    """
    from pipeline.training.result import PRUNED  # imports NumPy, which opening a store does not need

    result, points = entry.result, describe.metrics(entry.result)
    run = find(client, result.key, entry.experiment_id)
    same_training = run is not None and (run.info.run_id in live or _started(run) == entry.tags[describe.STARTED])
    if run is not None and deleted(run):
        if not same_training:
            run = None  # The deleted run is of another training.
        elif not restore:
            return {}
        else:
            client.restore_run(run.info.run_id)
    if run is not None:
        entry = replace(entry, parent=_adopt(client, run, entry.parent))
        if ended(run) and _has(run, result.status, points):
            return ids(run.info.run_id, entry.experiment_id, entry.parent, result.status)
        # The values of an earlier training cannot be removed one by one.
        if ended(run) or not same_training:
            discard(client, run.info.run_id)
            run = None
    tags = entry.tags if run else {}  # a new run is created with them
    run = run or _create(client, entry, entry.tags)
    run_id = run.info.run_id
    _add_texts(client, run, entry)
    send(client, run_id, _missing(points, live.get(run_id, [])), describe.parameters(result), tags)
    _describe_data(client, run_id, result)
    status = FINISHED if result.finished or result.status == PRUNED else FAILED
    # The training time excludes evaluation, so a run shown live may have started after the computed end.
    client.set_terminated(run_id, status, max(describe.span(result)[1], run.info.start_time))
    live.pop(run_id, None)
    return ids(run_id, entry.experiment_id, entry.parent, result.status)


def ids(run_id: str, experiment_id: str, parent: str | None, status: str) -> dict[str, str]:
    return {"run_id": run_id, "experiment_id": experiment_id, "parent_run_id": parent or "", "status": status}


def ids_of(run: Run) -> dict[str, str]:
    tags = run.data.tags
    return ids(run.info.run_id, run.info.experiment_id, tags.get(describe.PARENT), tags.get(describe.STATUS, ""))


def start(client: MlflowClient, entry: Entry) -> str:
    """Create a RUNNING run and return its id; empty if the key has a complete run, or one that trains elsewhere."""
    run = find(client, entry.result.key, entry.experiment_id)
    if run is not None and not deleted(run):
        elsewhere = run.info.status == RUNNING and not (process.own(run.data.tags) or process.dead(run.data.tags))
        if ended(run) or elsewhere:
            return ""
        discard(client, run.info.run_id)
    tags = {name: value for name, value in entry.tags.items() if name != describe.STATUS}
    run_id: str = _create(client, entry, tags).info.run_id
    send(client, run_id, parameters=describe.parameters(entry.result))
    _describe_data(client, run_id, entry.result)
    return run_id


def send(
    client: MlflowClient,
    run_id: str,
    points: Sequence[Point] = (),
    parameters: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Log values of a run in as few calls as MLflow's limits allow."""
    from mlflow.entities import Metric, Param, RunTag

    metrics = [Metric(point.name, point.value, point.time, point.step) for point in points]
    params = [Param(name, value) for name, value in (parameters or {}).items()]
    labels = [RunTag(name, describe.shorten(value, describe.TAG_LIMIT)) for name, value in (tags or {}).items()]
    while metrics or params or labels:
        batch = metrics[:BATCH_METRICS], params[:BATCH_PARAMETERS], labels[:BATCH_TAGS]
        client.log_batch(run_id, *batch, synchronous=True)
        metrics, params, labels = metrics[BATCH_METRICS:], params[BATCH_PARAMETERS:], labels[BATCH_TAGS:]


def _create(client: MlflowClient, entry: Entry, tags: Mapping[str, str]) -> Run:
    """Create an MLflow run, RUNNING and without metrics."""
    own = dict(tags) | ({describe.PARENT: entry.parent} if entry.parent else {})
    name = describe.shorten(entry.name, describe.NAME_LIMIT)
    return client.create_run(entry.experiment_id, describe.span(entry.result)[0], own, name)


def _add_texts(client: MlflowClient, run: Run, entry: Entry) -> None:
    """Upload the run's provenance, and its confusion matrix if there is one.

    `MlflowClient.log_artifacts` would first fetch the whole run to find its artifact folder.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    from pipeline.tracking import confusion

    check_folder(run, entry.artifacts)
    texts = {describe.PROVENANCE: describe.provenance(entry.result), confusion.FILE: confusion.page(entry.result)}
    with tempfile.TemporaryDirectory() as folder:
        for name, text in texts.items():
            if text:
                Path(folder, name).write_text(text, encoding="utf-8")
        get_artifact_repository(run.info.artifact_uri, client.tracking_uri).log_artifacts(folder)


def _describe_data(client: MlflowClient, run_id: str, result: RunResult) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(**describe.dataset(result))
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def _missing(points: Sequence[Point], sent: Sequence[Point]) -> list[Point]:
    """Return the points not yet sent, timed after all sent ones: MLflow shows the value with the latest time."""
    there = {(point.name, point.step, point.value) for point in sent}
    missing = [point for point in points if (point.name, point.step, point.value) not in there]
    if not missing or not sent:
        return missing
    delay = max(0, max(point.time for point in sent) + 1 - min(point.time for point in missing))
    return [point._replace(time=point.time + delay) for point in missing]


def _adopt(client: MlflowClient, run: Run, parent: str | None) -> str | None:
    """Set the parent of a run, unless it has another one that exists, and return the id of its parent."""
    present: str | None = run.data.tags.get(describe.PARENT)
    if parent in (None, present) or (present and get(client, present)):
        return present
    client.set_tag(run.info.run_id, describe.PARENT, parent, synchronous=True)
    return parent


def _started(run: Run) -> str:
    """Return when the training began, in milliseconds since 1970."""
    return str(run.data.tags.get(describe.STARTED, run.info.start_time))


def _has(run: Run, status: str, points: Sequence[Point]) -> bool:
    """Return whether a run has this status and these values, times aside, which differ between trainings."""
    # Older releases did not send `PERCENT`.
    last = {point.name: point.value for point in points if not point.name.startswith(("time/", *describe.PERCENT))}
    same_values = all(run.data.metrics.get(name) == value for name, value in last.items())
    return run.data.tags.get(describe.STATUS) == status and same_values


def discard(client: MlflowClient, run_id: str) -> None:
    """Delete a run that another one replaces."""
    client.set_tag(run_id, REPLACED, "true", synchronous=True)
    client.delete_run(run_id)


def origin() -> dict[str, str]:
    """Return MLflow's tags for user and program, which only its fluent API sets by itself."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    program = spec.name if spec else os.path.basename(sys.argv[0])
    return {"mlflow.user": user, "mlflow.source.name": program, "mlflow.source.type": "LOCAL"}


# --- files


def read_file(client: MlflowClient, run_id: str, name: str) -> str:
    """Return the text of a top-level artifact of a run. Raises UserError if it is missing or too large."""
    sizes = {item.path: item.file_size or 0 for item in client.list_artifacts(run_id)}
    if not 0 < sizes.get(name, 0) <= LARGEST_TEXT:
        raise UserError(f"MLflow run {run_id}: expected a file {name} of at most {LARGEST_TEXT:,} bytes")
    with tempfile.TemporaryDirectory() as temporary:
        return Path(client.download_artifacts(run_id, name, temporary)).read_text(encoding="utf-8")


def check_folder(run: Run, ours: Path | None) -> None:
    """Raise UserError if the run's artifact folder is gone, for example because the project was moved.

    MLflow stores its absolute path: it would recreate the old folder and show none of the earlier files.
    """
    parts = urlsplit(run.info.artifact_uri)
    if parts.scheme not in ("", "file") or ours is None:
        return
    theirs = next((path for path in Path(unquote(parts.path)).parents if path.name == ours.name), ours)
    if theirs != ours and not theirs.exists():
        made, link = shlex.quote(str(theirs.parent)), f"{shlex.quote(str(ours))} {shlex.quote(str(theirs))}"
        raise UserError(
            f"MLflow looks for the files of this experiment in {theirs}, which is gone (was the project moved?);"
            f" lead it to them with: mkdir -p {made} {shlex.quote(str(ours))} && ln -s {link}"
        )


# --- queries


def find(client: MlflowClient, key: str, experiment_id: str) -> Run | None:
    """Return the run of a key in an experiment, or None. Takes 2 ms, and 5 ms in a store of 3,000 runs."""
    found = search(client, [experiment_id], f"tags.`{describe.KEY}` = '{key}'", deleted=True)
    by_itself = [run for run in found if not (deleted(run) and REPLACED in run.data.tags)]
    return min(by_itself, key=lambda run: (deleted(run), not ended(run)), default=None)


def ended(run: Run) -> bool:
    return run.info.status in (FINISHED, FAILED)


def key_of(run: Run) -> str:
    return str(run.data.tags.get(describe.KEY, ""))


def deleted(run: Run) -> bool:
    return bool(run.info.lifecycle_stage != "active")


def search(client: MlflowClient, experiments: Sequence[str], query: str, deleted: bool = False) -> list[Run]:
    """Return the runs that match `query`, newest first; with `deleted`, deleted ones too."""
    from mlflow.entities import ViewType

    view = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
    runs: list[Run] = []
    token: str | None = None
    while experiments:
        page = client.search_runs(list(experiments), query, view, PAGE, page_token=token)
        runs += page
        if not (token := page.token):
            break
    return runs


def all_experiments(client: MlflowClient) -> list[str]:
    return [experiment.experiment_id for experiment in client.search_experiments()]


def with_ids(client: MlflowClient, run_ids: Sequence[str]) -> list[Run]:
    """Return the runs with these ids that are in the store and not deleted."""
    experiments = all_experiments(client)
    runs: list[Run] = []
    for start in range(0, len(run_ids), PAGE):
        listed = ", ".join(f"'{run_id}'" for run_id in run_ids[start : start + PAGE])
        runs += search(client, experiments, f"attributes.run_id IN ({listed})")
    return runs


def get(client: MlflowClient, run_id: str) -> Run | None:
    """Return the run, or None if it is deleted or not in the store."""
    return next(iter(with_ids(client, [run_id])), None)
