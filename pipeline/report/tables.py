"""A comparison in tables: files for people and `dvc plots`, numbers for `dvc metrics`, a leaderboard, a note."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from pipeline.cli import formatting
from pipeline.data.arrays import Arrays
from pipeline.report.evidence import Evidence
from pipeline.report.prose import answers, opening
from pipeline.statistics import summary
from pipeline.statistics.declaration import NETWORK, TRAIN_SIZE
from pipeline.training.result import DIVERGED, FAILED, FINISHED

RUNS = [
    "key", "name", "dataset", "experiment", "optimizer", "width", "depth", "hidden", "seed", "epochs", "status",
    "train_accuracy", "train_loss", "val_accuracy", "val_loss", "test_accuracy", "test_loss",
    "gap_accuracy", "gap_loss", "best_val_accuracy", "best_epoch", "seconds", "mlflow_run_id", "reason",
    "book_gap_accuracy", "book_gap_loss", "excess_loss", "lowest_epoch", "calibration_error", "split_offset",
]  # fmt: skip
CURVES = ["dataset", "experiment", "name", "optimizer", "hidden", "width", "seed", "epoch", "split", "loss", "accuracy"]
LINE = ["dataset", "experiment", "optimizer", "width", "depth"]
GAP_FIGURES = ("gap_accuracy", "gap_loss", "test_accuracy")
FAILURES = ["experiment", "name", "status", "reason", "command", "key"]


def csv(frame: pd.DataFrame) -> bytes:
    """A table as a file. No cell begins as a formula does, which a spreadsheet would work out: a quote comes before it."""
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
    """`text` as Markdown that shows it: no HTML, no picture or link, no end of a table's cell."""
    return re.sub(r"([<>\[\]|`\\])", r"\\\1", text)


def markdown_table(rows: Sequence[Sequence[object]]) -> list[str]:
    """The lines of a table in Markdown; the first row is its head."""
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return [lines[0], "| " + " | ".join("---" for _ in rows[0]) + " |", *lines[1:]]


def runs(evidence: Evidence) -> pd.DataFrame:
    """A row per run, failed and diverged ones too; also those of which a sweep knows no more than the name."""
    pairs = list(zip(evidence.runs["experiment"], evidence.runs["key"], strict=True))
    frame = evidence.runs.assign(mlflow_run_id=pd.Series([evidence.mlflow_id(*pair) for pair in pairs], dtype=object))
    known = set(zip(frame["experiment"], frame["name"], strict=True))
    extra = failures(evidence)[["name", "experiment", "status", "reason"]]
    extra = extra[[pair not in known for pair in zip(extra["experiment"], extra["name"], strict=True)]]
    columns = [*RUNS, *summary.extra_columns(frame)]
    return pd.concat([frame, extra], ignore_index=True)[columns] if len(extra) else frame[columns]


def failures(evidence: Evidence) -> pd.DataFrame:
    """A row per run that was asked for and did not finish, with the command that trains it again."""
    return pd.DataFrame([vars(lost) for lost in evidence.lost], columns=FAILURES)


def comparison(evidence: Evidence) -> pd.DataFrame:
    """A row per configuration."""
    return evidence.table.drop(columns="configuration")


def gap_by_width(evidence: Evidence) -> pd.DataFrame:
    """The gap of each optimizer at each width, of every comparison among the runs.

    `dvc plots` draws a line per optimizer: of several depths, training sizes and so on each is a line of its own, `adam, 2
    layers`.
    """
    figures = [f"{figure}_{part}" for figure in GAP_FIGURES for part in summary.STATISTICS]
    return _lines(evidence).reindex(columns=[*LINE, "n", *figures])


def gap_by_training_loss(evidence: Evidence) -> pd.DataFrame:
    """The gap at each training loss, of the best configuration of each optimizer at each width and setting."""
    gaps = [f"{figure}_{part}" for figure in ("gap_loss", "gap_accuracy") for part in summary.STATISTICS]
    found = _lines(evidence)[[*LINE, "configuration"]].merge(evidence.gap_by_training_loss)
    return found.reindex(columns=[*LINE, "n", "training_loss", *gaps])


def _lines(evidence: Evidence) -> pd.DataFrame:
    """The `cells` of every comparison, each with the name of its line as `optimizer`."""
    parts = [cells(evidence.question(question)) for question in evidence.questions]
    found = pd.concat(parts or [cells(evidence.table)])
    names = zip(found["optimizer"], found["setting"], strict=True)
    return found.assign(optimizer=[f"{name}, {setting}" if setting else name for name, setting in names])


def cells(table: pd.DataFrame, by: str = "width") -> pd.DataFrame:
    """The best configuration, by validation accuracy, of each optimizer, width and other setting.

    With `setting`: in words what varies besides optimizer, its hyper-parameters and `by`, `2 layers, 2,000 samples`; empty
    where nothing else does. `table` has the best first, as `summary.summarise` sorts.
    """
    rows = with_settings(table[table[by].notna() & table["n"].gt(0)], by)
    order = [*_settings(rows, by), "optimizer", by]
    return rows.drop_duplicates(["optimizer", by, "setting"]).sort_values(order, key=_in_order)


def with_settings(table: pd.DataFrame, by: str) -> pd.DataFrame:
    """The rows with `setting`: in words what varies besides optimizer, its hyper-parameters and `by`."""
    settings = _settings(table, by)
    return table.assign(setting=[settings_of(row, settings) for _, row in table.iterrows()])


def _settings(table: pd.DataFrame, by: str) -> list[str]:
    return [column for column in varied(table) if column not in (by, NETWORK if by == "hidden" else None)]


def varied(table: pd.DataFrame) -> list[str]:
    """What varies besides optimizer, its hyper-parameters and the width; the depth where it is not that of a network."""
    dotted = [column for column in summary.dotted_columns(table) if not column.startswith("optimizer.")]
    depths = (
        table.groupby(NETWORK)["depth"].nunique().max() if NETWORK in table else table["depth"].nunique(dropna=False)
    )
    depth = ["depth"] if depths > 1 else []
    return depth + [column for column in dotted if table[column].nunique(dropna=False) > 1]


def number_of(table: pd.DataFrame) -> str | None:
    """The factor of numbers that a plot has on its axis: the width, else the one of most values; None where there is none.

    A number that follows from what else was varied, as the learning rate from the optimizer, is no factor.
    """
    others = varied(table)
    own = [name for name in summary.dotted_columns(table) if name.startswith("optimizer.")]
    found = {}
    for column in ["width", *others, *own]:
        rest = ["optimizer", *(name for name in others if name != column)]
        if table[column].dropna().map(_is_number).all():
            found[column] = int(table.groupby(rest, dropna=False)[column].nunique().max())
    most = max(found, key=lambda column: (found[column] > 1 and column == "width", found[column]))
    return most if found[most] > 1 else None


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def settings_of(row: pd.Series, columns: Sequence[str]) -> str:
    """The values of a row in some columns, in words; what it does not have is left out."""
    there = [column for column in columns if isinstance(row[column], tuple) or pd.notna(row[column])]
    return ", ".join(opening.setting(column, row[column]) for column in there)


def _in_order(column: pd.Series) -> pd.Series:
    """Numbers by size, all samples last; anything else as a text."""
    if column.name == TRAIN_SIZE:
        return column.replace(0, np.inf)
    return column if pd.api.types.is_numeric_dtype(column) else column.map(str)


def confusion(evidence: Evidence, arrays: Arrays | None) -> pd.DataFrame:
    """A row per test image, as the network of the pictures sees it; none where its data are not here."""
    if arrays is None or evidence.winner is None:
        return pd.DataFrame(columns=["actual", "predicted"])
    return pd.DataFrame({"actual": np.asarray(arrays.test_labels), "predicted": evidence.winner.predictions})


def metrics(evidence: Evidence) -> dict[str, Any]:
    """Nested plain numbers; what there is not is left out, since JSON has no NaN."""
    counted = {"runs": {status: evidence.count(status) for status in (FINISHED, FAILED, DIVERGED)}}
    if not evidence.questions:
        return _plain({**counted, "seconds": round(evidence.seconds, 3)})
    finished = evidence.main[evidence.main["n"] > 0]
    best = finished.drop_duplicates("optimizer")
    gap = finished.sort_values("gap_accuracy_mean", ascending=False, kind="stable")
    numbers = {
        **({"best": _figures(finished.iloc[0])} if evidence.chosen_on_validation else {}),
        "optimizer": {row["optimizer"]: _figures(row) for _, row in best.sort_values("optimizer").iterrows()},
        "gap": {"largest": _figures(gap.iloc[0]), "smallest": _figures(gap.iloc[-1])},
        **counted,
        "seconds": round(evidence.seconds, 3),
    }
    if len(evidence.book):
        figures = {
            name: summary.interval(evidence.book[name]) for name in ("test_accuracy", "gap_accuracy", "gap_loss")
        }
        seeds = figures["test_accuracy"]["n"]
        parts = {name: {part: value[part] for part in ("mean", "sd")} for name, value in figures.items()}
        numbers = {"book": {"dataset": evidence.book["dataset"].iloc[0], "seeds": seeds, **parts}, **numbers}
    return _plain(numbers)


def flat(numbers: dict[str, Any]) -> dict[str, float]:
    """The numbers among `metrics`, by a path such as `comparison/best/test_accuracy`."""
    found = pd.json_normalize(numbers, sep="/").iloc[0].items()
    return {f"comparison/{name}": float(value) for name, value in found if isinstance(value, Real)}


def _figures(row: pd.Series) -> dict[str, Any]:
    """One configuration's means, and the SD of what it is known by."""
    names = (summary.RANKING, "test_accuracy", "test_loss", "gap_accuracy", "gap_loss")
    means = {name: row[f"{name}_mean"] for name in names}
    return {"configuration": row["name"], "seeds": int(row["n"]), **means, "test_accuracy_sd": row["test_accuracy_sd"]}


def _plain(value: Any) -> Any:
    """Rounded to what float32 carries; NaN and missing left out."""
    if isinstance(value, dict):
        plain = {name: _plain(item) for name, item in value.items()}
        return {name: item for name, item in plain.items() if item is not None}
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value


def leaderboard(evidence: Evidence, question: tuple[str, str] | None = None) -> list[dict[str, Any]]:
    """A row per configuration in words: what console, page and note show. By place; as they ran, where nothing is held out."""
    question = question or evidence.questions[0]
    table = evidence.question(question)
    extra = [f"{split}_{name}" for name in evidence.metrics for split in ("val", "test")]
    if evidence.validated(question):
        table = table.sort_values("place", kind="stable", na_position="last")
    return [
        {
            "place": _place(row),
            "configuration": opening.configuration(row),
            "optimizer": row["optimizer"],
            "layers": opening.configuration(row).removeprefix(f"{row['optimizer']}, "),
            "n": int(row["n"]),
            "lost": int(row["failed"] + row["diverged"]),
            "val": formatting.number(100 * row["val_accuracy_mean"]),
            "test": formatting.number(100 * row["test_accuracy_mean"]),
            "test_interval": formatting.span(row["test_accuracy_low"], row["test_accuracy_high"]),
            "gap": formatting.number(100 * row["gap_accuracy_mean"]),
            "gap_interval": formatting.span(row["gap_accuracy_low"], row["gap_accuracy_high"]),
            "gap_loss": formatting.number(row["gap_loss_mean"], 3),
            "excess": formatting.number(row["excess_loss_mean"], 3),
            "seconds": formatting.number(row["seconds_mean"], 1),
            **{figure: formatting.number(row[f"{figure}_mean"], 4) for figure in extra},
            "metrics": [_measured(row, figure) for figure in extra],
            "row": row,
        }
        for _, row in table.iterrows()
    ]


def _measured(row: pd.Series, figure: str) -> tuple[str, str]:
    """The mean of an extra metric, and its interval over seeds."""
    return formatting.number(row[f"{figure}_mean"], 4), formatting.span(
        row[f"{figure}_low"], row[f"{figure}_high"], 1, 4
    )


def _place(row: pd.Series) -> str:
    """`1–8` for a configuration that no interval tells from the first, nor from the eighth."""
    if pd.isna(row["place"]):
        return "–"
    return f"{row['place']}" if row["place"] == row["place_to"] else f"{row['place']}–{row['place_to']}"


HEADINGS = {
    "place": "place",
    "configuration": "configuration",
    "n": "n",
    "val": "validation %",
    "test": "test %",
    "test_interval": "95 % interval",
    "gap": "gap, points",
    "gap_interval": "95 % interval",
    "seconds": "s",
}


def headings(evidence: Evidence) -> dict[str, str]:
    """HEADINGS, and one for each extra metric on the held-out samples."""
    split, word = ("val", "validation") if evidence.chosen_on_validation else ("test", "test")
    extra = {f"{split}_{name}": f"{word} {name.replace('_', ' ')}" for name in evidence.metrics}
    return HEADINGS | extra


def note(evidence: Evidence, limit: int = 30) -> str:
    """The answer and the leaderboard in Markdown."""
    if not evidence.questions:
        lost = [markdown(f"- {lost.name}, {lost.status}: {lost.reason}") for lost in evidence.lost[:limit]]
        return "\n\n".join([opening.lead(evidence), "\n".join(lost)]) + "\n"
    rows = leaderboard(evidence)
    columns = headings(evidence)
    cells = [[markdown(str(row[column])) for column in columns] for row in rows[:limit]]
    lines = markdown_table([list(columns.values()), *cells])
    lines[1] = "| ---: | :--- |" + " ---: |" * (len(columns) - 2)
    more = [f"\n{len(rows) - limit} more in `comparison.csv`."] if len(rows) > limit else []
    paragraphs = [
        *([f"**{opening.alarm(evidence)}**"] if evidence.leaks else []),
        opening.lead(evidence),
        *(
            f"**{answer.question}** ({name}) {answer.text}"
            for (_, name), analysis in evidence.analyses.items()
            for answer in answers.answers(analysis)
        ),
    ]
    return "\n\n".join([*paragraphs, "\n".join([*lines, *more])]) + "\n"
