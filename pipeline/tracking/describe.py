"""What MLflow shows of a RunResult: parameters, metrics, tags, data set. Plain values; MLflow is not needed here."""

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
"""A run's file in MLflow with what nobody filters by: digests, and where it ran."""
NOTE, PARENT = "mlflow.note.content", "mlflow.parentRunId"
TEST_PERCENT, GAP_POINTS = "test_accuracy_percent", "overfitting_gap_points"
PERCENT = {
    TEST_PERCENT: "test/accuracy",
    "val_accuracy_percent": "val/accuracy",
    GAP_POINTS: "overfitting_gap/accuracy",
}
"""Metrics for people to read, a hundred times these figures in four digits: MLflow's table shows 15 digits of a share."""
COLORS = {
    "adam": "#0072b2",
    "adamw": "#d55e00",
    "momentum": "#009e73",
    "nadam": "#c0619b",
    "rmsprop": "#c98a00",
    "sgd": "#3f9fd6",
}
"""What MLflow's charts draw runs of an optimizer in, as the report does; of others, each run in a colour of its own."""


class Point(NamedTuple):
    """One value of a metric; `time` in milliseconds since 1970."""

    name: str
    value: float
    step: int
    time: int


def text(value: Any) -> str:
    """One value as MLflow shows it: text as it is, all else as JSON (`0.001`, `[512, 256]`, `true`, `null`)."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def fit(value: str, limit: int, mark: str = "… (cut)") -> str:
    """`value` in at most `limit` characters, with a mark where it was cut: MLflow only warns in its log, or raises."""
    return value if len(value) <= limit else value[: limit - len(mark)] + mark


def span(result: RunResult) -> tuple[int, int]:
    """Start and end of the training in milliseconds since 1970; never before 1970, never negative in length."""
    try:
        started = datetime.fromisoformat(result.started)
        start = (started if started.tzinfo else started.replace(tzinfo=UTC)).timestamp()
    except ValueError:
        start = time.time()
    seconds = result.metrics.get("time/train_s", 0.0)
    first = max(int(start * 1000), 1)
    return first, first + (int(seconds * 1000) if math.isfinite(seconds) and seconds > 0 else 0)


def parameters(result: RunResult) -> dict[str, str]:
    """The RunConfig, flattened, and two more values that people sort by: `model.width`, `model.depth`."""
    job = result.job
    width = job.width if job.width is not None else job.shape
    plain = {"model.width": width, "model.depth": job.depth} | job.flat()
    return {name: fit(text(value), PARAMETER_LIMIT) for name, value in plain.items()}


def of_best(best: RunResult, results: Iterable[RunResult]) -> dict[str, float]:
    """What the row of a sweep shows, whose `results` these are: `PERCENT` of the configuration of its best run."""
    seeds = {run.key: run for run in results if run.finished and run.job.configuration == best.job.configuration}
    return percent([*seeds.values()])


def percent(results: Sequence[RunResult]) -> dict[str, float]:
    """`PERCENT` of runs, as far as all have it: their means, in four digits."""
    means = {name: 100 * fmean(run.metrics.get(share, math.nan) for run in results) for name, share in PERCENT.items()}
    return {name: float(f"{mean:.4g}") for name, mean in means.items() if math.isfinite(mean)}


def metrics(result: RunResult) -> list[Point]:
    """`PERCENT`, every finite value of the curves at its epoch (from 1), and the figures at the last epoch."""
    start, end = span(result)
    last = result.epochs[-1] if result.epochs else 0
    points = [Point(name, value, last, end + 1) for name, value in percent([result]).items()]
    for name, values in result.history.items():
        for epoch, value in zip(result.epochs, values, strict=False):
            points.append(Point(name, float(value), epoch, start + (end - start) * epoch // last))
    for name, value in result.metrics.items():
        curve = result.history.get(name)
        if not curve or curve[-1] != value:
            # One millisecond after the curve, whose last point may be of fewer samples: MLflow shows the latest value.
            points.append(Point(name, float(value), last, end + 1))
    return [point for point in points if math.isfinite(point.value)]


def nonfinite(result: RunResult) -> str:
    """Names of the values that are not finite, which become part of a tag: MLflow stores an infinity as 1.8e308 without a flag."""
    curves = {
        f"{name}@{epoch}": value
        for name, values in result.history.items()
        for epoch, value in zip(result.epochs, values, strict=False)
    }
    return ", ".join(f"{name}={value}" for name, value in (curves | result.metrics).items() if not math.isfinite(value))


def tags(result: RunResult) -> dict[str, str]:
    """What a person filters runs by. All else that is known of a run is in its `provenance`."""
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
    return {name: fit(value, TAG_LIMIT) for name, value in shown.items() if value}


def origin_tags(environment: Mapping[str, str]) -> dict[str, str]:
    """The commit and the DVC experiment that a run, or a sweep's parent run, comes from."""
    names = {
        "mlflow.source.git.commit": "git_commit",
        "mlflow.source.git.dirty": "git_dirty",
        "env.dvc_experiment": "dvc_experiment",
    }
    return {tag: environment[name] for tag, name in names.items() if environment.get(name)}


def provenance(result: RunResult) -> str:
    """The run's `provenance.json`: all that is known of it, as its `result.json` has it, so that it can be made again from this."""
    from pipeline.storage.record import encode_nonfinite, stored  # NumPy

    return json.dumps(encode_nonfinite(stored(result)), indent=1, sort_keys=True) + "\n"


def restored(text: str, key: str) -> RunResult:
    """The run `key` from its `provenance.json`. Raises UserError where that is not whole, or of another release."""
    from pipeline.storage.record import result_of

    try:
        return result_of(json.loads(text), key)
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        why = "it is not whole, or an earlier release wrote it, whose runs come back from their folders alone"
        raise UserError(f"{PROVENANCE} of the run {key[:12]} in MLflow: {why} ({error})") from error


def dataset(result: RunResult) -> dict[str, str]:
    """The data set as MLflow keeps it, with our digest: MLflow's own covers the first 10,000 numbers only, 13 digits."""
    name, digest = result.job.dataset.name, text(result.identity.get("data") or "unknown")
    return {
        "name": name,
        "digest": digest[:DIGEST_LIMIT],
        "source_type": "local",
        "source": json.dumps({"uri": name}),
        "profile": json.dumps({"sha256": digest}),
    }
