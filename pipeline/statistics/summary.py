"""Statistics over RunResults: a tidy row per run; n, mean, SD and 95 % interval of each metric per configuration.

Accuracies and gaps are shares in [0, 1], losses in nats, times in seconds, as in `RunResult.metrics`. An interval is
Student's for the mean over seeds; of a single run there is none, and it stays empty.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

# The quantile of Student's t. `scipy.stats` has it too, and takes a second longer to import.
from scipy.special import stdtrit

from pipeline.config.names import configuration_name, names
from pipeline.config.run_config import RunConfig, digest
from pipeline.training.result import DIVERGED, FAILED, FINISHED, RunResult

CODE = "code"
"""The factor for the version of the code (`versions`)."""

Experiments = Mapping[str, Sequence[RunResult]]
"""Runs by experiment name; a run may be in several."""

CONFIDENCE = 0.95

METRICS = {
    "train_accuracy": "train/accuracy",
    "train_loss": "train/loss",
    "val_accuracy": "val/accuracy",
    "val_loss": "val/loss",
    "test_accuracy": "test/accuracy",
    "test_loss": "test/loss",
    "best_val_accuracy": "best/val_accuracy",
    "best_epoch": "best/epoch",
    "excess_loss": "excess/loss",
    "lowest_epoch": "lowest/epoch",
    "calibration_error": "test/calibration_error",
    "seconds": "time/train_s",
}
"""The metric of a RunResult behind each column."""

DERIVED = ("gap_accuracy", "gap_loss", "book_gap_accuracy", "book_gap_loss", "split_offset")
"""Columns that are derived from others, see `metrics_of`."""

SHARES = ("accuracy", "top_2_accuracy", "top_3_accuracy", "top_5_accuracy", "macro_f1")
"""Metrics that are shares in [0, 1]."""

SUMMARISED = (
    "test_accuracy", "test_loss", "gap_accuracy", "gap_loss", "best_val_accuracy", "val_accuracy", "val_loss",
    "train_accuracy", "train_loss", "excess_loss", "lowest_epoch", "calibration_error", "split_offset",
    "book_gap_accuracy", "book_gap_loss", "seconds",
)  # fmt: skip
RANKING = "val_accuracy"
"""Configurations are ranked by its mean, with the weights at the end of training like all metrics."""

SMALLER_IS_BETTER = ("loss", "brier_score")
"""Metrics for which smaller is better."""

STATISTICS = ("mean", "sd", "low", "high")

UNBOUNDED = (-math.inf, math.inf)
BOUNDS = {
    **dict.fromkeys(("accuracy", "train_accuracy", "best_val_accuracy", "calibration_error"), (0.0, 1.0)),
    **{f"{split}_{metric}": (0.0, 1.0) for split in ("val", "test") for metric in SHARES},
    **dict.fromkeys(("val_brier_score", "test_brier_score"), (0.0, 2.0)),
    **dict.fromkeys(("gap_accuracy", "book_gap_accuracy", "split_offset", "fit_accuracy"), (-1.0, 1.0)),
    **dict.fromkeys(("loss", "train_loss", "val_loss", "test_loss", "excess_loss", "seconds"), (0.0, math.inf)),
    "lowest_epoch": (1.0, math.inf),
}
"""The smallest and largest possible value of a metric. A loss may be negative too, such as `cosine_similarity`: see `intervals`."""

DESCRIBING = [
    "key", "name", "dataset", "experiment", "optimizer", "width", "depth", "hidden", "seed", "epochs", "status",
]  # fmt: skip
OTHERS = ["reason", "configuration", "started", "identity", "short_name"]
"""The columns of a run's row before and after its metrics."""

DESCRIBED = ["dataset", "experiment", "name", "optimizer", "width", "depth", "hidden"]
"""What identifies a configuration, besides the hyper-parameters that vary."""

DECIDES_NUMBERS = ("data", "source", "numerics")
"""Parts of a run's identity besides its RunConfig. Runs that differ in one are not paired."""


def origin(result: RunResult, *parts: str, code: Mapping[str, str] | None = None) -> str:
    """What decided the run's numbers besides its RunConfig, as a text; by default of all DECIDES_NUMBERS.

    `code`: what stands for the digest of its code, see `shared_code`.
    """
    known = result.identity | {"source": (code or {}).get(source_of(result), source_of(result))}
    return json.dumps([known.get(part) for part in parts or DECIDES_NUMBERS], sort_keys=True)


def source_of(result: RunResult) -> str:
    """Return the digest of the code that trained a run."""
    return str(result.identity.get("source"))


def shared_code(results: Iterable[RunResult]) -> dict[str, str]:
    """By the digest of a run's code that of the files which all of these runs use.

    Networks and optimizers that have a file of their own differ in it, and are pairs all the same.
    """
    reached = {source_of(result): result.sources for result in results if result.sources}
    common = set.intersection(*map(set, reached.values())) if reached else set()
    return {source: digest({name: files[name] for name in common}) for source, files in reached.items()}


def values_of(job: RunConfig) -> dict[str, Any]:
    """All that decides the numbers but the seed, by its dotted name; hashable.

    The hidden layers of any network that has some are `model.hidden`, in place of the arguments that they are made of.
    """
    plain = {name: value for name, value in job.flat().items() if name != "seed"}
    if job.hidden:
        for name in ("model.width", "model.depth"):
            plain.pop(name, None)
        plain["model.hidden"] = job.hidden
    return {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}


def hyperparameters(job: RunConfig) -> dict[str, Any]:
    """Return the `values_of` a configuration that have no column of their own."""
    own_column = {"dataset.name", "model.hidden", "model.build", "optimizer.name", "optimizer.class"}
    return {name: value for name, value in values_of(job).items() if name not in own_column}


def varying(jobs: Iterable[RunConfig]) -> list[str]:
    """Return the dotted names of the hyper-parameters that differ among the configurations that have them."""
    values: dict[str, set[Any]] = {}
    for job in jobs:
        for name, value in hyperparameters(job).items():
            values.setdefault(name, set()).add(value)
    return [name for name, seen in values.items() if len(seen) > 1]


def extra_metrics(jobs: Iterable[RunConfig]) -> list[str]:
    """Return the names of the metrics besides loss and accuracy."""
    return list(dict.fromkeys(name.rpartition(".")[2] for job in jobs for name in job.training.metrics))


def extra_columns(runs: pd.DataFrame) -> list[str]:
    """Return the columns of `tidy` with extra metrics."""
    return [str(name) for name in runs if str(name).startswith(("val_", "test_")) and name not in METRICS]


def held_out(result: RunResult) -> str:
    """Return the held-out split of a run: `val`, or `test` if it has no validation samples."""
    return "val" if "val/loss" in result.history else "test"


def metrics_of(result: RunResult) -> dict[str, float]:
    """Return a run's METRICS and DERIVED ones, by column; NaN for what it lacks.

    Gaps are worked out from the metrics of the splits: `gap_…` is training against held-out samples (against the test file
    where nothing was held out), `book_gap_…` always against the test file; accuracies of training minus the other, losses
    the other way round. `split_offset` is validation minus test accuracy. Records that lack the excess of the held-out loss
    over its minimum, and the epoch of that, have them in their curve.
    """
    found = {column: result.metrics.get(metric, math.nan) for column, metric in METRICS.items()}
    split = "val" if "val/accuracy" in result.metrics else "test"
    for prefix, against in (("gap", split), ("book_gap", "test")):
        found[f"{prefix}_accuracy"] = found["train_accuracy"] - found[f"{against}_accuracy"]
        found[f"{prefix}_loss"] = found[f"{against}_loss"] - found["train_loss"]
    found["split_offset"] = found["val_accuracy"] - found["test_accuracy"]
    losses = result.history.get(f"{held_out(result)}/loss", [])
    if result.finished and losses and METRICS["excess_loss"] not in result.metrics:
        found["excess_loss"] = losses[-1] - min(losses)
        found["lowest_epoch"] = result.epochs[losses.index(min(losses))]
    return found


def tidy(experiments: Experiments) -> pd.DataFrame:
    """A row per run. Hyper-parameters that vary have columns too: those with a dot in their name.

    `name` carries the values that differ among the runs of the experiment, `short_name` none of them.
    """
    called = names_in(experiments)
    pairs = [(experiment, result) for experiment, results in experiments.items() for result in results]
    vary = varying(result.job for _, result in pairs)
    plain = {job: hyperparameters(job) for job in {result.job for _, result in pairs}} if vary else {}
    metrics = extra_metrics(result.job for _, result in pairs)
    extra = {f"{split}_{name}": f"{split}/{name}" for name in metrics for split in ("val", "test")}
    code = shared_code(result for _, result in pairs)
    rows = []
    for experiment, result in pairs:
        job = result.job
        row = {
            "key": result.key, "name": called[experiment][job], "dataset": job.dataset.name, "experiment": experiment,
            "optimizer": job.optimizer.name, "width": job.width, "depth": job.depth, "hidden": job.shape,
            "seed": job.seed, "epochs": job.training.epochs, "status": result.status,
            "reason": result.reason, "configuration": job.configuration, "started": result.started,
            "identity": origin(result, code=code), "short_name": job.name,
        }  # fmt: skip
        measured = {column: result.metrics.get(metric, math.nan) for column, metric in extra.items()}
        rows.append({**row, **metrics_of(result), **measured, **{name: plain[job].get(name) for name in vary}})
    frame = pd.DataFrame(rows, columns=[*DESCRIBING, *METRICS, *DERIVED, *extra, *OTHERS, *vary])
    return frame.astype({"width": "Int64", "depth": "Int64", **dict.fromkeys([*METRICS, *DERIVED, *extra], float)})


def names_in(experiments: Experiments) -> dict[str, dict[RunConfig, str]]:
    """Return the name of each configuration within its experiment."""
    return {experiment: names(result.job for result in results) for experiment, results in experiments.items()}


def curve_points(experiments: Experiments) -> pd.DataFrame:
    """A row per run, point of its curve and split (`train`; `val`, or `test` where nothing is held out).

    `epoch` is that of the point, `loss` and `accuracy` are the split's.
    """
    rows, called = [], names_in(experiments)
    for experiment, results in experiments.items():
        for result in results:
            job, history = result.job, result.history
            about = (job.dataset.name, experiment, called[experiment][job], job.configuration, result.key)
            run = (*about, job.optimizer.name, job.shape, job.width, job.seed)
            for split in ("train", "val", "test"):
                losses, accuracies = history.get(f"{split}/loss", []), history.get(f"{split}/accuracy", [])
                points = zip(result.epochs, losses, accuracies, strict=False)
                rows += [(*run, epoch, split, loss, accuracy) for epoch, loss, accuracy in points]
    columns = ["dataset", "experiment", "name", "configuration", "key", "optimizer", "hidden", "width", "seed"]
    frame = pd.DataFrame(rows, columns=[*columns, "epoch", "split", "loss", "accuracy"])
    return frame.astype({"width": "Int64", "loss": float, "accuracy": float})


def dotted_columns(frame: pd.DataFrame) -> list[str]:
    """Return the columns of hyper-parameters, and of the version of the code if it is a factor."""
    return [str(column) for column in frame.columns if "." in str(column) or column == CODE]


def once_per_seed(runs: pd.DataFrame) -> pd.DataFrame:
    """Of runs that repeat a configuration and a seed (other code, data or device), a finished one, then the latest.

    A seed counted twice is no second sample: the two share weights and batches.
    """
    order = runs.assign(_finished=runs["status"].eq(FINISHED)).sort_values(["_finished", "started"], kind="stable")
    return runs.loc[order.drop_duplicates(["experiment", "configuration", "seed"], keep="last").index.sort_values()]


def intervals(frame: pd.DataFrame, by: list[str], metrics: Sequence[str]) -> pd.DataFrame:
    """`<metric>_mean`, `_sd`, `_low`, `_high` of each metric for each group of rows, in the order they appear in.

    Intervals are cut at BOUNDS. The true mean lies within them, so a cut interval covers it as often as a whole one. A metric
    that some row has below its bound has none.
    """
    groups = frame.groupby(by, sort=False, dropna=False)[list(metrics)]
    n, mean, sd = groups.count(), groups.mean(), groups.std()
    degrees = (n - 1).where(n > 1)
    half = sd / np.sqrt(n) * stdtrit(degrees, (1 + CONFIDENCE) / 2)
    smallest, largest = np.array([BOUNDS.get(metric, UNBOUNDED) for metric in metrics]).T
    smallest = np.where(groups.min().lt(smallest).any(), -math.inf, smallest)
    low, high = ((mean + sign * half).clip(smallest, largest, axis=1) for sign in (-1, 1))
    values = np.stack([part.to_numpy(float) for part in (mean, sd, low, high)], axis=2)
    columns = statistics_of(metrics)
    return pd.DataFrame(values.reshape(len(mean), len(columns)), index=mean.index, columns=columns).reset_index()


def statistics_of(metrics: Sequence[str]) -> list[str]:
    """Return the columns of `intervals`."""
    return [f"{metric}_{part}" for metric in metrics for part in STATISTICS]


def interval(values: Sequence[float] | pd.Series, bounds: tuple[float, float] = UNBOUNDED) -> dict[str, float]:
    """Return n, mean, SD, low and high of a sample, with the interval cut at `bounds`."""
    frame = pd.DataFrame({"all": 0, "x": np.asarray(values, dtype=float)})
    row = intervals(frame, ["all"], ["x"]).iloc[0]
    cut = {"low": bounds, "high": bounds}
    found = {part: float(np.clip(row[f"x_{part}"], *cut.get(part, UNBOUNDED))) for part in STATISTICS}
    return {"n": int(frame["x"].count()), **found}


def summarise(runs: pd.DataFrame, ranking: str = RANKING) -> pd.DataFrame:
    """A row per configuration; runs that did not finish are counted.

    Within an experiment those of better `ranking` (validation accuracy) come first; the others keep the order of their jobs,
    since ordering by test accuracy would be choosing by it.
    """
    runs = once_per_seed(runs)
    by = ["experiment", "configuration"]
    dotted = dotted_columns(runs)
    names_of = runs.assign(name=_configuration_names(runs)).groupby(by, sort=False)
    table = names_of[[column for column in [*DESCRIBED, *dotted] if column not in by]].first().reset_index()
    for column, status in {"n": FINISHED, "failed": FAILED, "diverged": DIVERGED}.items():
        counted = runs["status"].eq(status).groupby([runs[key] for key in by], sort=False).sum()
        table[column] = counted.to_numpy()
    metrics = intervals(runs[runs["status"].eq(FINISHED)], by, [*SUMMARISED, *extra_columns(runs)])
    columns = [*DESCRIBED, *dotted, "n", "failed", "diverged", *metrics.columns.drop(by), "configuration"]
    table = table.merge(metrics, on=by, how="left")[columns]
    order = pd.DataFrame(
        {"place": pd.factorize(table["experiment"])[0], "best": -sign_of(ranking) * table[f"{ranking}_mean"]}
    )
    ordered = table.loc[order.sort_values(["place", "best"], kind="stable").index].reset_index(drop=True)
    return ranked(ordered, ranking)


def ranked(table: pd.DataFrame, ranking: str = RANKING) -> pd.DataFrame:
    """`table` with the places that each configuration may take in its experiment, `place` (best) to `place_to` (worst).

    `place` is 1 plus the number of rows whose whole interval is better; `place_to` is the number of rows minus those whose
    whole interval is worse. Intervals are those of `ranking`, or of the same on the test file where nothing is held out. A row
    without an interval has no place and is not counted.
    """
    places = pd.DataFrame(index=table.index, columns=["place", "place_to"], dtype="Int64")
    for _, group in table.groupby(["dataset", "experiment"], sort=False):
        held_out = group[f"{ranking}_mean"].notna().any()
        metric = ranking if held_out else ranking.replace("val_", "test_", 1)
        low, high = (group[f"{metric}_{end}"].to_numpy(float) for end in ("low", "high"))
        if sign_of(ranking) < 0:
            low, high = -high, -low
        known = ~np.isnan(high)
        above = (low[None, :] > high[:, None]).sum(axis=1)
        below = (high[None, :] < low[:, None]).sum(axis=1)
        places.loc[group.index[known], "place"] = above[known] + 1
        places.loc[group.index[known], "place_to"] = known.sum() - below[known]
    return table.join(places)


def sign_of(ranking: str) -> int:
    """Return 1 if larger values of a column are better, else -1."""
    return -1 if ranking.partition("_")[2] in SMALLER_IS_BETTER else 1


def _configuration_names(runs: pd.DataFrame) -> pd.Series:
    """Return the names of configurations: a run's short name without its seed, and what distinguishes it in its experiment."""
    plain = runs["short_name"].map(configuration_name)
    names = plain.copy()
    dotted = dotted_columns(runs)
    for _, alike in runs.groupby([runs["experiment"], plain]):
        if alike["configuration"].nunique() > 1:
            tell = [column for column in dotted if alike[column].nunique(dropna=False) > 1]
            for index in alike.index:
                settings = [f"{column.rpartition('.')[2]}={_word(runs.at[index, column])}" for column in tell]
                names.loc[index] = " ".join([plain[index], *settings])
    return names


def _word(value: Any) -> str:
    """Return a value as text without spaces."""
    if value is None or value != value:
        return "null"
    return ",".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)
