"""Convert a RunResult to MLflow parameters, metrics, tags and data set, as plain values without importing MLflow."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.cli.errors import UserError

if TYPE_CHECKING:
    from pipeline.training.result import RunResult

PARAMETER_LIMIT, TAG_LIMIT, DIGEST_LIMIT, NAME_LIMIT = 6000, 8000, 36, 250
KEY, STATUS, STARTED = "run.key", "status", "run.started"
PROVENANCE = "provenance.json"
"""Artifact with the values that nobody filters by, such as digests and where the run was trained."""
NOTE, PARENT = "mlflow.note.content", "mlflow.parentRunId"
TEST_PERCENT, GAP_POINTS = "test_accuracy_percent", "overfitting_gap_points"
PERCENT = {
    TEST_PERCENT: "test/accuracy",
    "val_accuracy_percent": "val/accuracy",
    GAP_POINTS: "overfitting_gap/accuracy",
}
"""Metrics in percent, rounded to four digits: MLflow's table shows 15 digits of a fraction."""
COLORS = {
    "adam": "#0072b2",
    "adamw": "#d55e00",
    "momentum": "#009e73",
    "nadam": "#c0619b",
    "rmsprop": "#c98a00",
    "sgd": "#3f9fd6",
}
"""Run colours by optimizer in MLflow's charts, as in the report. Runs of other optimizers get one colour each."""


class Point(NamedTuple):
    """One value of a metric; `time` in milliseconds since 1970."""

    name: str
    value: float
    step: int
    time: int


def text(value: Any) -> str:
    """Return a value as MLflow shows it: text unchanged, all else as JSON (`0.001`, `[512, 256]`, `true`, `null`)."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def shorten(value: str, limit: int) -> str:
    """Cut `value` to `limit` characters and mark the cut; MLflow would only log a warning, or raise."""
    mark = "… (cut)"
    return value if len(value) <= limit else value[: limit - len(mark)] + mark


def span(result: RunResult) -> tuple[int, int]:
    """Return start and end of the training in milliseconds since 1970; never before 1970, and never end before start."""
    try:
        started = datetime.fromisoformat(result.started)
        start = (started if started.tzinfo else started.replace(tzinfo=UTC)).timestamp()
    except ValueError:
        start = time.time()
    seconds = result.metrics.get("time/train_s", 0.0)
    first = max(int(start * 1000), 1)
    return first, first + (int(seconds * 1000) if math.isfinite(seconds) and seconds > 0 else 0)


def parameters(result: RunResult) -> dict[str, str]:
    """Return the flattened RunConfig, plus `model.width` and `model.depth` to sort by."""
    job = result.job
    width = job.width if job.width is not None else job.shape
    plain = {"model.width": width, "model.depth": job.depth} | job.flat()
    return {name: shorten(text(value), PARAMETER_LIMIT) for name, value in plain.items()}


def of_best(best: RunResult, results: Iterable[RunResult]) -> dict[str, float]:
    """Return the metrics of a sweep's parent run: `PERCENT` over the seeds of the best run's configuration."""
    seeds = {run.key: run for run in results if run.finished and run.job.configuration == best.job.configuration}
    return percent([*seeds.values()])


def percent(results: Sequence[RunResult]) -> dict[str, float]:
    """Return the means of `PERCENT` over runs, in four digits, without those that a run lacks."""
    means = {name: 100 * fmean(run.metrics.get(share, math.nan) for run in results) for name, share in PERCENT.items()}
    return {name: float(f"{mean:.4g}") for name, mean in means.items() if math.isfinite(mean)}


def metrics(result: RunResult) -> list[Point]:
    """Return `PERCENT`, the finite values of the curves by epoch (from 1), and the metrics at the last epoch."""
    start, end = span(result)
    last = result.epochs[-1] if result.epochs else 0
    points = [Point(name, value, last, end + 1) for name, value in percent([result]).items()]
    for name, values in result.history.items():
        for epoch, value in zip(result.epochs, values, strict=False):
            points.append(Point(name, float(value), epoch, start + (end - start) * epoch // last))
    for name, value in result.metrics.items():
        curve = result.history.get(name)
        if not curve or curve[-1] != value:
            # One millisecond after the curve, whose last point may use fewer samples: MLflow shows the latest value.
            points.append(Point(name, float(value), last, end + 1))
    return [point for point in points if math.isfinite(point.value)]


def nonfinite(result: RunResult) -> str:
    """Return the non-finite values as text for a tag: MLflow stores an infinity as 1.8e308 without a flag."""
    curves = {
        f"{name}@{epoch}": value
        for name, values in result.history.items()
        for epoch, value in zip(result.epochs, values, strict=False)
    }
    return ", ".join(f"{name}={value}" for name, value in (curves | result.metrics).items() if not math.isfinite(value))


def tags(result: RunResult) -> dict[str, str]:
    """Return the tags that people filter runs by. Everything else is in the run's `provenance`."""
    numerics = result.identity.get("numerics", {})
    shown = {
        KEY: result.key,
        STATUS: result.status,
        STARTED: str(span(result)[0]),
        "numerics.device": numerics.get("device"),
        "numerics.backend": numerics.get("backend"),
        "mlflow.runColor": COLORS.get(result.job.optimizer.name),
        "reason": result.reason,
        "nonfinite": nonfinite(result),
        **origin_tags(result.environment),
    }
    return {name: shorten(value, TAG_LIMIT) for name, value in shown.items() if value}


def origin_tags(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the tags for the commit and the DVC experiment of a run or a sweep's parent run."""
    names = {
        "mlflow.source.git.commit": "git_commit",
        "mlflow.source.git.dirty": "git_dirty",
        "env.dvc_experiment": "dvc_experiment",
    }
    return {tag: environment[name] for tag, name in names.items() if environment.get(name)}


def provenance(result: RunResult) -> str:
    """Return the text of `provenance.json`: the content of `result.json`, from which the run can be restored."""
    from pipeline.storage.record import encode_nonfinite, stored  # NumPy

    return json.dumps(encode_nonfinite(stored(result)), indent=1, sort_keys=True) + "\n"


def restored(text: str, key: str) -> RunResult:
    """Return the run `key` from its `provenance.json`. Raises UserError if it is incomplete or of another release."""
    from pipeline.storage.record import result_of

    try:
        return result_of(json.loads(text), key)
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        why = "it is incomplete, or an earlier release wrote it; such a run can only be restored from its run folder"
        raise UserError(f"{PROVENANCE} of the run {key[:12]} in MLflow: {why} ({error})") from error


def dataset(result: RunResult) -> dict[str, str]:
    """Return the data set for MLflow, with our digest: MLflow's own covers the first 10,000 numbers only, 13 digits."""
    name, digest = result.job.dataset.name, text(result.identity.get("data") or "unknown")
    return {
        "name": name,
        "digest": digest[:DIGEST_LIMIT],
        "source_type": "local",
        "source": json.dumps({"uri": name}),
        "profile": json.dumps({"sha256": digest}),
    }
