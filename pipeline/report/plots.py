"""The pictures of a report: the rows of each chart, its caption and alternative text. Their numbers are in the files beside it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from pipeline.cli import formatting
from pipeline.data.arrays import Arrays
from pipeline.report import charts, tables
from pipeline.report.dataset import png
from pipeline.report.evidence import Evidence, Question
from pipeline.report.prose import opening
from pipeline.training.result import RunResult

MOST_PANELS, MOST_SETTINGS = 9, 8
"""Panels of a chart; settings of a single optimizer that are a line each, not a panel each."""
HARDEST = 24
"""Digits in the picture of the hardest ones."""


@dataclass
class Picture:
    """A chart with what is said of it. `name` is its files'."""

    name: str
    caption: str
    alternative: str
    chart: alt.TopLevelMixin

    @cached_property
    def spec(self) -> charts.Spec:
        return charts.spec(self.chart)

    @cached_property
    def svg(self) -> str:
        return charts.svg(self.spec)


class Pictures:
    """Every picture that these runs allow; what they do not allow is None."""

    def __init__(self, evidence: Evidence, arrays: Arrays | None) -> None:
        self.optimizers = sorted(set(evidence.runs["optimizer"]))
        self.colours = {name: charts.OPTIMIZERS[i % len(charts.OPTIMIZERS)] for i, name in enumerate(self.optimizers)}
        cells = {question: _cells(evidence, question) for question in evidence.comparisons}
        self.gap = self._gap(evidence)
        self.fit = self._fit(evidence, cells)
        self.excess = self._excess(evidence, cells)
        self.explorer = self._explorer(evidence)
        self.confusion, self.hardest = None, None
        if arrays is not None and evidence.winner is not None:
            self.confusion = _confusion(tables.confusion(evidence, arrays), arrays)
            self.hardest = _hardest(evidence.winner, arrays)

    def all(self) -> list[Picture]:
        return [picture for picture in vars(self).values() if isinstance(picture, Picture)]

    def files(self) -> dict[str, bytes]:
        """Of each picture the SVG and the specification, by their names."""
        drawn = {f"{picture.name}.svg": picture.svg for picture in self.all()}
        return {
            name: text.encode()
            for name, text in (drawn | {f"{own.name}.vl.json": json.dumps(own.spec) for own in self.all()}).items()
        }

    def _gap(self, evidence: Evidence) -> Picture:
        """The gap over the factor of numbers; of a comparison without one, over what has a name."""
        found, factors = [], []
        for question in evidence.comparisons:
            best = evidence.question(question)
            best = best[best["n"] > 0]
            number = tables.number_of(best)
            rows = tables.cells(best, number or "hidden")
            factors.append((number or "").rpartition(".")[2].replace("_", " "))
            rows = rows.assign(x=rows[number] if number else rows.apply(_network_of, axis=1))
            alone = rows["optimizer"].nunique() == 1 and 1 < rows["setting"].nunique() <= MOST_SETTINGS and number
            rows = rows.assign(series=rows["setting" if alone else "optimizer"], label=_labels(rows, number))
            rest = "" if alone or not number else rows["setting"]
            found.append(_points(evidence, rows.assign(panel=_panel(evidence, question, rest)), "gap_accuracy", 100))
        rows = _joined(found)
        factor = factors[0] if len({*factors}) == 1 else ""
        largest = max(rows, key=lambda row: row["mean"])
        said = f"The gap at the end of training. The largest is {formatting.number(largest['mean'])} points, of {largest['label']}."
        chart = charts.intervals(rows, factor, "gap, points", names=self._names(rows))
        caption = "The gap at the end of training, with its 95 % interval over seeds."
        return Picture("gap", caption, said, chart)

    def _fit(self, evidence: Evidence, cells: Mapping[Question, pd.DataFrame]) -> Picture | None:
        table, found = evidence.gap_by_training_loss, []
        for (dataset, experiment), rows in cells.items():
            own = table[table["experiment"].eq(experiment) & table["dataset"].eq(dataset)]
            merged = rows.merge(
                own[["configuration", "training_loss", *_parts("gap_loss")]], on="configuration", suffixes=("_end", "")
            )
            found.append(_points(evidence, merged.assign(x=merged["training_loss"]), "gap_loss"))
        rows = _joined(found)
        if not rows:
            return None
        chart = self._curves(rows, "training loss, nats", "gap, nats", log="x", falling=True)
        caption = "The gap when the training loss has fallen so far: of two lines at one place the higher one generalises worse."
        return Picture(
            "gap_by_training_loss",
            caption,
            "The gap in loss against the training loss, which falls to the right.",
            chart,
        )

    def _excess(self, evidence: Evidence, cells: Mapping[Question, pd.DataFrame]) -> Picture | None:
        found = []
        for question, rows in cells.items():
            bands = evidence.bands[question]
            held = bands[bands["split"].ne("train")].copy()
            lowest = held.groupby("configuration")["loss_mean"].idxmin()
            held["loss_low"] = held["loss_low"].where(held["loss_low"].gt(0))  # a logarithmic axis has no zero
            held["mark"] = np.where(held.index.isin(lowest), "lowest", "")
            held = held[held.groupby("configuration")["epoch"].transform("size").gt(1)]
            merged = rows.merge(held, on="configuration")
            found.append(_points(evidence, merged.assign(x=merged["epoch"]), "loss"))
        rows = _joined(found)
        if not rows:
            return None
        chart = self._curves(
            rows, "epoch", "held-out loss, nats", log="xy" if max(row["x"] for row in rows) >= 20 else "y", marked=True
        )
        caption = (
            "The held-out loss by epoch. The circle is its lowest point: what rises after it was trained too long."
        )
        return Picture("held_out_loss", caption, "Held-out loss by epoch, the lowest point of each line marked.", chart)

    def _curves(self, rows: charts.Rows, x: str, y: str, **options: Any) -> alt.FacetChart:
        names = self._names(rows)
        colours = charts.OPTIMIZERS if names[0] in self.colours else charts.ORDERED
        return charts.curves(rows, x, y, names=names, colours=colours, **options)

    def _names(self, rows: charts.Rows) -> list[str]:
        """Series as the legend has them: every optimizer, so that each looks the same in all charts; others as they come."""
        names = list(dict.fromkeys(str(row["series"]) for row in rows))
        return self.optimizers if set(names) <= set(self.optimizers) else names

    def _explorer(self, evidence: Evidence) -> Picture:
        runs = explored(evidence)
        shown = next((row for row in runs if evidence.winner and row["key"] == evidence.winner.key), runs[0])
        result = next(result for result in evidence.results if result.key == shown["key"])
        panels = list(dict.fromkeys(row["panel"] for row in runs))
        points = [
            {"samples": samples, "epoch": epoch, "loss": loss, "accuracy": accuracy}
            for samples, *values in zip(("training", "held out"), *_curve(result)[1:], strict=True)
            for epoch, loss, accuracy in zip(result.epochs, *values, strict=True)
        ]
        chart = charts.explorer(runs, points, panels, self.optimizers, shown["key"])
        caption = (
            "Drag over the cells to pick runs, click on a run to see its curves, on the legend to pick an optimizer."
        )
        said = (
            f"The mean gap by network and optimizer, the runs by accuracy and gap, and the curves of {shown['name']}."
        )
        return Picture("explorer", caption, said, chart)


def _cells(evidence: Evidence, question: Question) -> pd.DataFrame:
    """The lines of the curves of a comparison: a colour per network, if there are several; else per optimizer, else per setting."""
    table = evidence.question(question)
    cells = tables.cells(table[table["n"] > 0], "hidden").sort_values("width", kind="stable")
    cells = cells.assign(shape=[_shape_of(row) for _, row in cells.iterrows()], label=_labels(cells))
    alone = cells["optimizer"].nunique() == 1
    series = "shape" if cells["shape"].nunique() > 1 else "setting" if alone and cells["setting"].any() else "optimizer"
    rest = "" if series == "setting" else cells["setting"]
    return cells.assign(series=cells[series], panel=_panel(evidence, question, rest))


def _labels(cells: pd.DataFrame, number: str | None = None) -> list[str]:
    """Each row in words: `adam, width 64, 2,000 samples`."""
    names = [f"{row['optimizer']}, {_network_of(row)}" for _, row in cells.iterrows()]
    if number in (None, "width"):
        return names
    return [f"{name}, {opening.setting(number, value)}" for name, value in zip(names, cells[number], strict=True)]


def _panel(evidence: Evidence, question: Question, settings: Any) -> list[str] | str:
    name = question[1] if len(evidence.comparisons) > 1 else ""
    if isinstance(settings, str):
        return name
    return [", ".join(filter(None, [name, setting])) for setting in settings]


def _network_of(row: pd.Series) -> str:
    """What a row of `tables.cells` is besides its optimizer: `width 64, 2,000 samples`."""
    return ", ".join(filter(None, [_shape_of(row), row["setting"]]))


def _shape_of(row: pd.Series) -> str:
    """Its network, without the number of layers, which is among the settings: `width 64`, `residual, width 128`."""
    return re.sub(r"(?<=\d), \d+ layers$", "", opening.network(row))


def _parts(figure: str) -> list[str]:
    return [f"{figure}_{part}" for part in ("mean", "low", "high")]


def _points(evidence: Evidence, rows: pd.DataFrame, figure: str, scale: float = 1) -> pd.DataFrame:
    """The columns of a chart's rows."""
    values = {part: scale * rows[f"{figure}_{part}"] for part in ("mean", "low", "high")}
    kept = [name for name in ("panel", "series", "label", "x", "mark") if name in rows]
    return rows[kept].assign(**values)


def _joined(parts: Sequence[pd.DataFrame]) -> list[dict[str, Any]]:
    """The rows of all comparisons, those of MOST_PANELS panels, both ends among them."""
    rows = pd.concat([part.astype({"x": object}) for part in parts], ignore_index=True)
    panels = list(dict.fromkeys(rows["panel"]))
    chosen = {panels[round(place)] for place in np.linspace(0, len(panels) - 1, min(len(panels), MOST_PANELS))}
    return charts.records(rows[rows["panel"].isin(chosen)])


# --- the explorer


def explored(evidence: Evidence) -> list[dict[str, Any]]:
    """A row per finished run of every comparison, the largest comparison first; gap in points, accuracies in %."""
    found = []
    for question in evidence.questions:
        table = evidence.question(question)
        rows = tables.with_settings(table[table["n"] > 0], "hidden")
        rows = rows.assign(network=[_shape_of(row) for _, row in rows.iterrows()], order=rows["width"])
        own = evidence.finished[evidence.finished["experiment"].eq(question[1])]
        runs = own.merge(rows[["configuration", "network", "setting", "order"]], on="configuration").sort_values(
            "order", kind="stable"
        )
        names = [", ".join(filter(None, [question[1], setting])) for setting in runs["setting"]]
        held = runs["val_accuracy"].fillna(runs["test_accuracy"])
        values = {"gap": runs["gap_accuracy"], "held_out": held, "test": runs["test_accuracy"]}
        runs = runs.assign(
            panel=names, series=runs["optimizer"], **{name: 100 * value for name, value in values.items()}
        )
        found.append(runs.sort_values("panel", kind="stable", key=lambda column: column.map(names.index)))
    return charts.records(pd.concat(found)[["panel", "network", "series", "name", "key", *values]])


def run_curves(evidence: Evidence) -> dict[str, Any]:
    """Of each finished run, by its key, epochs, then training and held-out losses and accuracies, and its page in MLflow."""
    links = {
        key: evidence.link(experiment, key) for experiment, key in evidence.finished[["experiment", "key"]].to_numpy()
    }
    return {run.key: [*_curve(run), links[run.key]] for run in evidence.results if run.key in links}


def _curve(run: RunResult) -> tuple[list[int], list[list[float]], list[list[float]]]:
    """Epochs; losses and accuracies of the training samples, and of those held out."""
    split = "val" if "val/loss" in run.history else "test"
    parts = [
        [[float(f"{value:.4g}") for value in run.history.get(f"{name}/{what}", [])] for what in ("loss", "accuracy")]
        for name in ("train", split)
    ]
    return run.epochs, parts[0], parts[1]


# --- the best network


def _confusion(answers: pd.DataFrame, arrays: Arrays) -> Picture:
    errors = formatting.plural(int((answers["actual"] != answers["predicted"]).sum()), "error")
    said = f"{errors} on {len(answers):,} test {arrays.what}."
    counts = answers.groupby(["actual", "predicted"]).size().reset_index(name="n")
    return Picture(
        "confusion",
        said,
        f"What the network takes for what: {said}",
        charts.confusion(charts.records(counts), arrays.what),
    )


def _hardest(result: RunResult, arrays: Arrays) -> Picture | None:
    if result.probabilities is None or len(arrays.image_shape) < 2:
        return None
    rows = hardest(result, np.asarray(arrays.test_labels))
    for row in rows:
        image = np.asarray(arrays.test_images[row.pop("index")]).reshape(arrays.image_shape)
        row["url"] = "data:image/png;base64," + base64.b64encode(png(1 - image)).decode()
    caption = "The test images to whose label the network gives the least probability: the label → what it says, and how sure it is."
    said = "; ".join(row["caption"] for row in rows)
    return Picture("hardest_digits", caption, said, charts.pictures(rows))


def hardest(result: RunResult, labels: np.ndarray, count: int = HARDEST) -> list[dict[str, Any]]:
    """The test images to whose label the network gives the least, least first: `index`, `caption`, and its place."""
    found = []
    for place, index in enumerate(
        np.argsort(result.probabilities[np.arange(len(labels)), labels], kind="stable")[:count]
    ):
        own = result.probabilities[index]
        caption = f"{labels[index]} → {own.argmax()}, {100 * own.max():.0f} %"
        found.append({"index": int(index), "caption": caption, "line": place // 8, "column": place % 8})
    return found
