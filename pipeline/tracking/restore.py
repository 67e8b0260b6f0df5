"""A RunResult from what MLflow recorded of it: the way back of `describe`, for a run whose folder is gone.

Predictions, weights and the uncommitted patch are not in MLflow; their digests are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipeline.cli.errors import UserError
from pipeline.config.run_config import RunConfig
from pipeline.storage import record
from pipeline.storage.identity import key_of
from pipeline.tracking import describe
from pipeline.training.result import FINISHED, RunResult

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

SECTIONS = ("dataset", "model", "optimizer", "training")
SHOWN = ("model.width", "model.depth")
"""Parameters that repeat what `model.hidden` says, for people to sort by."""


def result(run: Run, histories: Mapping[str, Sequence[Metric]], provenance: str) -> RunResult:
    """The run as it was published, `provenance` the content of its file.

    Raises UserError where it is no run of this project, or not whole.
    """
    try:
        return record.checked(_result(run, histories, json.loads(provenance)))
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"MLflow run {run.info.run_id}: not a whole run of this project ({error})") from error


def _result(run: Run, histories: Mapping[str, Sequence[Metric]], parts: Mapping[str, Any]) -> RunResult:
    tags = run.data.tags
    key, status, identity = tags[describe.KEY], tags[describe.STATUS], parts["identity"]
    job = RunConfig.from_dict(_plain(run.data.params))
    if key != key_of(job, identity):
        raise ValueError("its key is not that of its configuration, data, code and numerics")
    epochs, history, figures = _numbers(job, histories)
    return RunResult(
        key=key,
        job=job,
        status=status,
        reason=tags.get(describe.REASON),
        epochs=epochs,
        history=history,
        figures=figures if status == FINISHED else {n: v for n, v in figures.items() if n.startswith("time/")},
        digests=parts["digests"],
        identity=identity,
        environment=parts["environment"],
        sources=parts.get("sources", {}),
        started=datetime.fromtimestamp(run.info.start_time / 1000, UTC).isoformat(timespec="milliseconds"),
    )


def _numbers(
    job: RunConfig, histories: Mapping[str, Sequence[Metric]]
) -> tuple[list[int], dict[str, list[float]], dict[str, float]]:
    """The epochs of the curves, the curves and the figures.

    A metric may be both: the first value of a step is the curve's, and the latest of all the figure, see `describe.metrics`.
    """
    held_out = "val" if job.dataset.validation_size else "test"
    curves = {f"{split}/{what}" for split in ("running", "train", held_out, "gap") for what in ("loss", "accuracy")}
    history: dict[str, list[float]] = {}
    figures: dict[str, float] = {}
    epochs: set[int] = set()
    for name, points in histories.items():
        if name in describe.PERCENT:
            continue
        ordered = sorted(points, key=lambda point: (point.step, point.timestamp))
        if name in curves:
            by_epoch = {point.step: point.value for point in reversed(ordered)}
            history[name] = [by_epoch[epoch] for epoch in sorted(by_epoch)]
            epochs |= by_epoch.keys()
        if name not in curves or name.startswith(("train/", "val/", "test/")):
            figures[name] = ordered[-1].value
    return sorted(epochs), history, figures


def _plain(parameters: Mapping[str, str]) -> dict[str, Any]:
    plain: dict[str, Any] = {section: {} for section in SECTIONS}
    for name, text in parameters.items():
        section, _, rest = name.partition(".")
        if section in plain and name not in SHOWN:
            plain[section][rest] = _value(text)
        elif name == "seed":
            plain["seed"] = _value(text)
    return plain


def _value(text: str) -> Any:
    """The inverse of `describe.text`."""
    try:
        return json.loads(text)
    except ValueError:
        return text
