"""The pictures of a report: the rows of each chart, its caption and alternative text. Their numbers are in the files beside it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
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
        return charts.svg(self.spec, self.name)


class Pictures:
    """Every picture that these runs allow; what they do not allow is None."""

    def __init__(self, evidence: Evidence, arrays: Arrays | None) -> None:
        self.optimizers = sorted(set(evidence.runs["optimizer"]))
        self.colours = dict(zip(self.optimizers, charts.OPTIMIZERS * len(self.optimizers), strict=False))
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
        drawn = {f"{own.name}.svg": own.svg for own in self.all()}
        specs = {f"{own.name}.vl.json": json.dumps(own.spec) for own in self.all()}
        return {name: text.encode() for name, text in (drawn | specs).items()}

    def _gap(self, evidence: Evidence) -> Picture:
        """The gap over the factor of numbers; of a comparison without one, over what has a name."""
        found, factors = [], set()
        for question in evidence.comparisons:
            best = evidence.question(question)
            number = tables.number_of(best[best["n"] > 0])
            cells = tables.cells(best, number or "hidden")
            factors.add((number or "").rpartition(".")[2].replace("_", " "))
            one = cells["optimizer"].nunique() == 1 and 1 < cells["setting"].nunique() <= MOST_SETTINGS
            named = cells["setting"] if cells["hidden"].nunique() == 1 else cells.apply(_network_of, axis=1)
            x = cells[number] if number else named
            cells = cells.assign(
                series=cells["setting" if one and number else "optimizer"], label=_labels(cells, number)
            )
            settings = [""] * len(cells) if one or not number else cells["setting"]
            found.append(_points(cells.assign(x=x, panel=_panels(evidence, question, settings)), "gap_accuracy", 100))
        rows = _joined(found)
        largest = max(rows, key=lambda row: row["mean"])
        said = f"The largest gap is {formatting.number(largest['mean'])} points, of {largest['label']}."
        x_title = factors.pop() if len(factors) == 1 else ""
        chart = charts.intervals(rows, x_title, "gap, points", names=self._names(rows))
        return Picture("gap", "The gap at the end of training, with its 95 % interval over seeds.", said, chart)

    def _fit(self, evidence: Evidence, cells: Mapping[Question, pd.DataFrame]) -> Picture | None:
        table = evidence.gap_by_training_loss.rename(columns={"training_loss": "x"})
        rows = _joined([_points(_curves(own, table), "gap_loss") for own in cells.values()])
        caption = "The gap when the training loss has fallen so far: of two lines at one place the higher one generalises worse."
        said = "The gap in loss against the training loss, which falls to the right."
        chart = self._chart(rows, "training loss, nats", "gap, nats", log="x", falling=True)
        return Picture("gap_by_training_loss", caption, said, chart) if rows else None

    def _excess(self, evidence: Evidence, cells: Mapping[Question, pd.DataFrame]) -> Picture | None:
        bands = pd.concat([own.assign(dataset=name[0], experiment=name[1]) for name, own in evidence.bands.items()])
        held = bands[bands["split"].ne("train")].rename(columns={"epoch": "x"}).reset_index(drop=True)
        by = held.groupby(["experiment", "configuration"])["loss_mean"]
        # A logarithmic axis has no zero.
        held = held.assign(
            mark=np.where(held.index.isin(by.idxmin()), "lowest", ""), loss_low=held["loss_low"].replace(0, np.nan)
        )
        rows = _joined([_points(_curves(own, held[by.transform("size").gt(1)]), "loss") for own in cells.values()])
        caption = (
            "The held-out loss by epoch. The circle is its lowest point: what rises after it was trained too long."
        )
        said = "Held-out loss by epoch, the lowest point of each line marked."
        log = "xy" if max((row["x"] for row in rows), default=0) >= 20 else "y"
        chart = self._chart(rows, "epoch", "held-out loss, nats", log=log, marked=True)
        return Picture("held_out_loss", caption, said, chart) if rows else None

    def _chart(self, rows: charts.Rows, x: str, y: str, **options: Any) -> alt.FacetChart:
        names = self._names(rows)
        colours = charts.OPTIMIZERS if names == self.optimizers else charts.ORDERED
        return charts.curves(rows, x, y, names=names, colours=colours, **options)

    def _names(self, rows: charts.Rows) -> list[str]:
        """Series as the legend has them: every optimizer, so that each looks the same in all charts; others as they come."""
        names = list(dict.fromkeys(str(row["series"]) for row in rows))
        return self.optimizers if set(names) <= set(self.optimizers) else names

    def _explorer(self, evidence: Evidence) -> Picture:
        runs = explored(evidence)
        shown = next((row for row in runs if evidence.winner and row["key"] == evidence.winner.key), runs[0])
        epochs, *curves = _curve(next(result for result in evidence.results if result.key == shown["key"]))
        points = [
            {"samples": samples, "epoch": epoch, "loss": loss, "accuracy": accuracy}
            for samples, values in zip(("training", "held out"), curves, strict=True)
            for epoch, loss, accuracy in zip(epochs, *values, strict=True)
        ]
        panels = list(dict.fromkeys(row["panel"] for row in runs))
        caption = (
            "Drag over the cells to pick runs, click on a run to see its curves, on the legend to pick an optimizer."
        )
        said = (
            f"The mean gap by network and optimizer, the runs by accuracy and gap, and the curves of {shown['name']}."
        )
        return Picture("explorer", caption, said, charts.explorer(runs, points, panels, self.optimizers, shown["key"]))


def _cells(evidence: Evidence, question: Question) -> pd.DataFrame:
    """The curves of a comparison: a colour for each network, if there are several; else for each optimizer, or setting."""
    cells = tables.cells(evidence.question(question), "hidden").sort_values("width", kind="stable")
    cells = cells.assign(shape=[_shape_of(row) for _, row in cells.iterrows()], label=_labels(cells))
    by_setting = cells["optimizer"].nunique() == 1 and cells["setting"].any()
    series = "shape" if cells["shape"].nunique() > 1 else "setting" if by_setting else "optimizer"
    settings = [""] * len(cells) if series == "setting" else cells["setting"]
    return cells.assign(series=cells[series], panel=_panels(evidence, question, settings))


def _curves(cells: pd.DataFrame, values: pd.DataFrame) -> pd.DataFrame:
    """The points of the curves of `cells`."""
    keys = ["dataset", "experiment", "configuration"]
    return cells[[*keys, "panel", "series", "label"]].merge(values, on=keys)


def _labels(cells: pd.DataFrame, number: str | None = None) -> list[str]:
    """Each row in words: `adam, width 64, 2,000 samples`."""
    names = [f"{row['optimizer']}, {_network_of(row)}" for _, row in cells.iterrows()]
    if number in (None, "width"):
        return names
    return [f"{name}, {opening.setting(number, value)}" for name, value in zip(names, cells[number], strict=True)]


def _panels(evidence: Evidence, question: Question, settings: Iterable[str]) -> list[str]:
    name = question[1] if len(evidence.comparisons) > 1 else ""
    return [", ".join(filter(None, [name, setting])) for setting in settings]


def _network_of(row: pd.Series) -> str:
    """What a row of `tables.cells` is besides its optimizer: `width 64, 2,000 samples`."""
    return ", ".join(filter(None, [_shape_of(row), row["setting"]]))


def _shape_of(row: pd.Series) -> str:
    """Its network, without the number of layers, which is among the settings: `width 64`, `residual, width 128`."""
    return re.sub(r"(?<=\d), \d+ layers$", "", opening.network(row))


def _points(rows: pd.DataFrame, figure: str, scale: float = 1) -> pd.DataFrame:
    """The columns of a chart's rows."""
    kept = [name for name in ("panel", "series", "label", "x", "mark") if name in rows]
    ends = {part: scale * rows[f"{figure}_{part}"] for part in ("mean", "low", "high")}
    return rows[kept].assign(**ends).astype({"x": object})


def _joined(parts: Sequence[pd.DataFrame]) -> list[dict[str, Any]]:
    """The rows of all comparisons, those of MOST_PANELS panels, both ends among them."""
    rows = pd.concat(parts, ignore_index=True)
    panels = list(dict.fromkeys(rows["panel"]))
    chosen = {panels[round(place)] for place in np.linspace(0, len(panels) - 1, min(len(panels), MOST_PANELS))}
    return charts.records(rows[rows["panel"].isin(chosen)])


# --- the explorer


def explored(evidence: Evidence) -> list[dict[str, Any]]:
    """A row per finished run of every comparison, the largest comparison first; gap in points, accuracies in %."""
    found = []
    for question in evidence.questions:
        table = evidence.question(question)
        rows = tables.with_settings(table[table["n"] > 0], "hidden").sort_values("width", kind="stable")
        rows = rows.assign(network=[_shape_of(row) for _, row in rows.iterrows()])
        own = evidence.finished[evidence.finished["experiment"].eq(question[1])]
        runs = rows[["configuration", "network", "setting"]].merge(own, on="configuration")
        panels = [", ".join(filter(None, [question[1], setting])) for setting in runs["setting"]]
        held = runs["val_accuracy"].fillna(runs["test_accuracy"])
        values = {"gap": runs["gap_accuracy"], "held_out": held, "test": runs["test_accuracy"]}
        scaled = {name: 100 * value for name, value in values.items()}
        found.append(runs.assign(panel=panels, series=runs["optimizer"], **scaled))
    return charts.records(pd.concat(found)[["panel", "network", "series", "name", "key", "gap", "held_out", "test"]])


def run_curves(evidence: Evidence) -> dict[str, Any]:
    """Of each finished run, by its key, what `_curve` gives, and its page in MLflow."""
    finished = evidence.finished[["experiment", "key"]].to_numpy()
    links = {key: evidence.link(experiment, key) for experiment, key in finished}
    return {run.key: [*_curve(run), links[run.key]] for run in evidence.results if run.key in links}


def _curve(run: RunResult) -> tuple[list[int], list[list[float]], list[list[float]]]:
    """Epochs; losses and accuracies of the training samples; those of the samples that are held out."""
    train, held = (
        [[float(f"{value:.4g}") for value in run.history.get(f"{split}/{what}", [])] for what in ("loss", "accuracy")]
        for split in ("train", "val" if "val/loss" in run.history else "test")
    )
    return run.epochs, train, held


# --- the best network


def _confusion(answers: pd.DataFrame, arrays: Arrays) -> Picture:
    errors = formatting.plural(int((answers["actual"] != answers["predicted"]).sum()), "error")
    said = f"{errors} on {len(answers):,} test {arrays.what}."
    counts = charts.records(answers.value_counts(["actual", "predicted"]).reset_index(name="n"))
    return Picture("confusion", said, f"What the network takes for what: {said}", charts.confusion(counts, arrays.what))


def _hardest(result: RunResult, arrays: Arrays) -> Picture | None:
    if result.probabilities is None or len(arrays.image_shape) < 2:
        return None
    rows = hardest(result.probabilities, np.asarray(arrays.test_labels))
    for row in rows:
        image = np.asarray(arrays.test_images[row.pop("index")]).reshape(arrays.image_shape)
        row["url"] = "data:image/png;base64," + base64.b64encode(png(1 - image)).decode()
    caption = "The test images whose label the network believes least: the label → what it says, and how sure it is."
    return Picture("hardest_digits", caption, "; ".join(row["caption"] for row in rows), charts.pictures(rows))


def hardest(probabilities: np.ndarray, labels: np.ndarray, count: int = HARDEST) -> list[dict[str, Any]]:
    """The test images to whose label the network gives the least, least first: `index`, `caption`, and its place."""
    order = np.argsort(probabilities[np.arange(len(labels)), labels], kind="stable")[:count]
    said = [f"{labels[i]} → {probabilities[i].argmax()}, {100 * probabilities[i].max():.0f} %" for i in order]
    return [
        {"index": int(index), "caption": caption, "line": place // 8, "column": place % 8}
        for place, (index, caption) in enumerate(zip(order, said, strict=True))
    ]
