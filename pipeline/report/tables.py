"""The tables of a comparison: CSV files, numbers for `dvc metrics`, the leaderboard."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.cli import formatting
from pipeline.data.files import atomic_write
from pipeline.report.evidence import Evidence
from pipeline.statistics import summary
from pipeline.statistics.cells import best

RUNS = [
    "key", "name", "dataset", "experiment", "optimizer", "width", "depth", "hidden", "seed", "epochs", "status",
    "train_accuracy", "train_loss", "val_accuracy", "val_loss", "test_accuracy", "test_loss",
    "gap_accuracy", "gap_loss", "best_val_accuracy", "best_epoch", "seconds", "mlflow_run_id", "reason",
    "book_gap_accuracy", "book_gap_loss", "excess_loss", "lowest_epoch", "calibration_error", "split_offset",
]  # fmt: skip
CURVES = ["dataset", "experiment", "name", "optimizer", "hidden", "width", "seed", "epoch", "split", "loss", "accuracy"]
LINE = ["dataset", "experiment", "optimizer", "width", "depth"]
FAILURES = ["experiment", "name", "status", "reason", "command", "key"]
"""Columns of failures.csv: planned runs that did not finish, with the command that trains each again."""


def save(folder: Path, files: Mapping[str, bytes | str]) -> None:
    """Write files into `folder`. Each gets its final name only when it is complete."""
    for name, content in files.items():
        with atomic_write(folder / name) as temporary:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def csv(frame: pd.DataFrame) -> bytes:
    """A table as CSV. A cell that a spreadsheet would evaluate as a formula gets a leading quote."""
    texts = frame.select_dtypes(exclude="number").columns
    plain = frame.assign(**{str(name): frame[name].map(_no_formula) for name in texts})
    return plain.to_csv(index=False, lineterminator="\n").encode()


def _no_formula(cell: Any) -> Any:
    if not isinstance(cell, str) or not cell.lstrip().startswith(("=", "+", "-", "@")):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def markdown(text: str) -> str:
    """`text` escaped for Markdown: no HTML, images or links, and no end of a table cell."""
    return re.sub(r"([<>\[\]|`\\])", r"\\\1", text)


def markdown_table(rows: Sequence[Sequence[object]]) -> list[str]:
    """The lines of a Markdown table; the first row is its header."""
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return [lines[0], "| " + " | ".join("---" for _ in rows[0]) + " |", *lines[1:]]


def runs(evidence: Evidence) -> pd.DataFrame:
    """A row per run, including failed and diverged ones, and runs that only the record of a sweep names."""
    pairs = list(zip(evidence.runs["experiment"], evidence.runs["key"], strict=True))
    ids = [evidence.ids(*pair).get("run_id") for pair in pairs]
    frame = evidence.runs.assign(mlflow_run_id=pd.Series(ids, dtype=object))
    known = set(zip(frame["experiment"], frame["name"], strict=True))
    extra = [vars(lost) for lost in evidence.lost if (lost.experiment, lost.name) not in known]
    columns = [*RUNS, *summary.extra_columns(frame)]
    if extra:
        recorded = pd.DataFrame(extra)[["name", "experiment", "status", "reason"]]
        frame = pd.concat([frame, recorded], ignore_index=True)
    return frame[columns]


def gap_by_width(evidence: Evidence) -> pd.DataFrame:
    """The gap of each optimizer at each width, in every comparison.

    `dvc plots` draws a line per `optimizer`; each depth, training size and so on gets its own, `adam, 2 layers`.
    """
    metrics = summary.statistics_of(("gap_accuracy", "gap_loss", "test_accuracy"))
    return _lines(evidence).reindex(columns=[*LINE, "n", *metrics])


def gap_by_training_loss(evidence: Evidence) -> pd.DataFrame:
    """The gap at each training loss, for the best configuration of each optimizer, width and setting."""
    found = _lines(evidence)[[*LINE, "configuration"]].merge(evidence.gap_by_training_loss)
    return found.reindex(columns=[*LINE, "n", "training_loss", *summary.statistics_of(("gap_loss", "gap_accuracy"))])


def _lines(evidence: Evidence) -> pd.DataFrame:
    """The best configurations of every comparison (`best`), with the name of the plotted line as `optimizer`."""
    parts = [best(evidence.question(question)) for question in evidence.questions]
    found = pd.concat(parts or [best(evidence.table)])
    names = zip(found["optimizer"], found["setting"], strict=True)
    return found.assign(optimizer=[f"{name}, {setting}" if setting else name for name, setting in names])


def confusion(evidence: Evidence) -> pd.DataFrame:
    """A row per test sample: its class and the winner's prediction; no rows without the data."""
    if evidence.arrays is None or evidence.winner is None:
        return pd.DataFrame(columns=["actual", "predicted"])
    return pd.DataFrame({"actual": np.asarray(evidence.arrays.test_labels), "predicted": evidence.winner.predictions})


def metrics(evidence: Evidence) -> dict[str, Any]:
    """Nested plain numbers. Missing ones are left out, since JSON has no NaN."""
    numbers: dict[str, Any] = {}
    if len(evidence.book):
        parts = evidence.book[["test_accuracy", "gap_accuracy", "gap_loss"]].agg(["mean", "std"]).rename({"std": "sd"})
        numbers["book"] = {"dataset": evidence.book["dataset"].iloc[0], "seeds": len(evidence.book), **parts.to_dict()}
    if evidence.questions:
        finished = evidence.main[evidence.main["n"] > 0]
        leaders = finished.drop_duplicates("optimizer").sort_values("optimizer")
        gap = finished.sort_values("gap_accuracy_mean", ascending=False, kind="stable")
        if finished[f"{evidence.ranking}_mean"].notna().any():
            numbers["best"] = _metrics(finished.iloc[0])
        numbers["optimizer"] = {row["optimizer"]: _metrics(row) for _, row in leaders.iterrows()}
        numbers["gap"] = {"largest": _metrics(gap.iloc[0]), "smallest": _metrics(gap.iloc[-1])}
    return _plain({**numbers, "runs": evidence.counts, "seconds": round(evidence.seconds, 3)})


def flat(numbers: dict[str, Any]) -> dict[str, float]:
    """The numbers of `metrics` by path, such as `comparison/best/test_accuracy`."""
    found = pd.json_normalize(numbers, sep="/").iloc[0].items()
    return {f"comparison/{name}": float(value) for name, value in found if isinstance(value, Real)}


def _metrics(row: pd.Series) -> dict[str, Any]:
    """The means of one configuration, and the SD of its test accuracy."""
    names = (summary.RANKING, "test_accuracy", "test_loss", "gap_accuracy", "gap_loss")
    means = {name: row[f"{name}_mean"] for name in names}
    return {"configuration": row["name"], "seeds": int(row["n"]), **means, "test_accuracy_sd": row["test_accuracy_sd"]}


def _plain(value: Any) -> Any:
    """`value` rounded to float32 precision, without NaN and missing values."""
    if isinstance(value, dict):
        plain = {name: _plain(item) for name, item in value.items()}
        return {name: item for name, item in plain.items() if item is not None}
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value


# --- the leaderboard


@dataclass(frozen=True)
class Column:
    """A metric of the leaderboard: its heading, and the format of its mean over seeds."""

    heading: str
    metric: str
    scale: int = 1
    digits: int = 4
    interval: bool = True


def columns(evidence: Evidence) -> list[Column]:
    """The columns of a leaderboard."""
    held_out = any(map(evidence.validated, evidence.questions))
    splits = {"val": "validation", "test": "test"} if held_out else {"test": "test"}
    names = [*evidence.metrics, *(["loss"] if evidence.rank == "loss" else [])]
    extra = [
        Column(f"{word} {name.replace('_', ' ')}", f"{split}_{name}")
        for name in names
        for split, word in splits.items()
    ]
    return [
        *([Column("validation, %", "val_accuracy", 100, 2, interval=False)] if held_out else []),
        Column("test, %", "test_accuracy", 100, 2),
        Column("gap, points", "gap_accuracy", 100, 2),
        Column("gap, nats", "gap_loss", 1, 3, interval=False),
        Column("excess, nats", "excess_loss", 1, 3, interval=False),
        *extra,
    ]


def leaderboard(evidence: Evidence, question: tuple[str, str]) -> pd.DataFrame:
    """The configurations of a comparison by the mean of the metric that ranks them; of their runs if nothing is held out."""
    table = evidence.question(question)
    return table.assign(places=[_place(row) for _, row in table.iterrows()])


def written(row: pd.Series, column: Column) -> tuple[str, str]:
    """The mean of a metric and its interval over seeds: `97.84`, `97.76 to 97.92`."""
    mean, low, high = (row[f"{column.metric}_{part}"] for part in ("mean", "low", "high"))
    ends = formatting.span(low, high, column.scale, column.digits) if column.interval else ""
    return formatting.number(column.scale * mean, column.digits), ends


def _place(row: pd.Series) -> str:
    """`1–8` for a configuration whose interval overlaps those of the first and of the eighth."""
    if pd.isna(row["place"]):
        return "–"
    return f"{row['place']}" if row["place"] == row["place_to"] else f"{row['place']}–{row['place_to']}"


def texts(evidence: Evidence) -> pd.DataFrame:
    """The leaderboard of the largest comparison as texts: accuracies, gap, and the metric of `rank`."""
    shown = ("val_accuracy", "test_accuracy", "gap_accuracy", f"val_{evidence.rank}", f"test_{evidence.rank}")
    board = leaderboard(evidence, evidence.questions[0]).reset_index(drop=True)
    found: dict[str, Any] = {"place": board["places"], "configuration": board["label"], "n": board["n"].astype(str)}
    for column in columns(evidence):
        if column.metric in shown:
            means, ends = zip(*(written(row, column) for _, row in board.iterrows()), strict=True)
            found[column.heading] = means
            if column.interval:
                found[f"{column.heading.partition(',')[0]}: 95 % interval"] = ends
    return pd.DataFrame(found)
