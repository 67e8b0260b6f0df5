"""A RunResult from what MLflow recorded of it: the way back of `describe`, for a run whose folder is gone.

Predictions, weights and the uncommitted patch are not in MLflow; their digests are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipeline.cli.errors import UserError
from pipeline.config.run_config import RunConfig, digest
from pipeline.storage import record
from pipeline.tracking import describe
from pipeline.training.result import FINISHED, RunResult

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

SECTIONS = ("dataset", "model", "optimizer", "training")
SHOWN = ("model.width", "model.depth")
"""Parameters that repeat what `model.hidden` says, for people to sort by."""


def result(run: Run, histories: Mapping[str, Sequence[Metric]]) -> RunResult:
    """The run as it was published. Raises UserError where it is no run of this project, or not whole."""
    try:
        return record.checked(_result(run, histories))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"MLflow run {run.info.run_id}: not a whole run of this project ({error})") from error


def _result(run: Run, histories: Mapping[str, Sequence[Metric]]) -> RunResult:
    tags = run.data.tags
    plain = _plain(run.data.params)
    job = RunConfig.from_dict(plain)
    held_out = "val" if job.dataset.validation_size else "test"
    by_epoch = {f"{split}/{what}" for split in ("running", "train", held_out, "gap") for what in ("loss", "accuracy")}
    history: dict[str, list[float]] = {}
    figures: dict[str, float] = {}
    for name, points in histories.items():
        ordered = sorted(points, key=lambda point: (point.step, point.timestamp))
        values = {point.step: point.value for point in ordered}
        if name in by_epoch:
            history[name] = [values[epoch] for epoch in sorted(values)]
        if name not in by_epoch or name.startswith(("train/", "val/", "test/")):
            figures[name] = ordered[-1].value
    status = tags[describe.STATUS]
    identity = {
        "data": tags[describe.DATA],
        "source": tags[describe.SOURCE],
        "numerics": {name: _value(text) for name, text in _group(tags, "numerics").items()},
    }
    if digest({"job": plain, **identity}) != tags[describe.KEY]:
        raise ValueError("its key is not that of its configuration, data, code and numerics")
    return RunResult(
        key=tags[describe.KEY],
        job=job,
        status=status,
        reason=tags.get(describe.REASON),
        history=history,
        figures=figures if status == FINISHED else {n: v for n, v in figures.items() if n.startswith("time/")},
        digests=_group(tags, "digest"),
        identity=identity,
        environment=_group(tags, "env"),
        started=datetime.fromtimestamp(run.info.start_time / 1000, UTC).isoformat(timespec="milliseconds"),
    )


def to_job(parameters: Mapping[str, str]) -> RunConfig:
    """The RunConfig of `describe.parameters`."""
    return RunConfig.from_dict(_plain(parameters))


def _plain(parameters: Mapping[str, str]) -> dict[str, Any]:
    plain: dict[str, Any] = {section: {} for section in SECTIONS}
    for name, text in parameters.items():
        section, _, rest = name.partition(".")
        if section in plain and name not in SHOWN:
            plain[section][rest] = _value(text)
        elif name == "seed":
            plain["seed"] = _value(text)
    return plain


def _group(tags: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {name.removeprefix(f"{prefix}."): text for name, text in tags.items() if name.startswith(f"{prefix}.")}


def _value(text: str) -> Any:
    """The inverse of `describe.text`."""
    try:
        return json.loads(text)
    except ValueError:
        return text
