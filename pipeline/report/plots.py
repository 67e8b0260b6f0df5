"""The charts of a report: the rows of each, its caption and alternative text."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import repeat
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from pipeline.cli import formatting
from pipeline.data.arrays import Arrays
from pipeline.data.card import png
from pipeline.report import charts, tables
from pipeline.report.evidence import Evidence, Question
from pipeline.report.prose.captions import ALTERNATIVES, CAPTIONS
from pipeline.statistics.cells import best, number_of, varied
from pipeline.statistics.declaration import NETWORK, TRAIN_SIZE
from pipeline.training.result import RunResult

MOST_PANELS, MOST_SETTINGS = 9, 8
"""Panels of a chart; settings of a single optimizer up to which each is a line, not a panel."""
CONFIGURATION = ["dataset", "experiment", "configuration"]
HARDEST = 24
"""Images in the chart of the hardest digits."""


@dataclass
class Picture:
    """A chart with its texts. `name` is the name of its files."""

    name: str
    chart: alt.TopLevelMixin
    values: dict[str, Any] = field(default_factory=dict)
    """Values for the placeholders of the texts."""

    @property
    def caption(self) -> str:
        return CAPTIONS[self.name].format(**self.values)

    @property
    def alternative(self) -> str:
        return ALTERNATIVES[self.name].format(**self.values)

    @cached_property
    def spec(self) -> charts.Spec:
        return charts.spec(self.chart)

    @cached_property
    def svg(self) -> str:
        return charts.svg(self.spec, self.name)


class Pictures:
    """The charts of a report. Those that the runs lack data for are None."""

    def __init__(self, evidence: Evidence) -> None:
        self.optimizers = sorted(set(evidence.runs["optimizer"]))
        self.colours = dict(zip(self.optimizers, charts.OPTIMIZERS * len(self.optimizers), strict=False))
        cells = pd.concat([_cells(evidence, question) for question in evidence.comparisons])
        self.gap = self._gap(evidence)
        self.fit = self._fit(evidence, cells)
        self.excess = self._excess(evidence, cells)
        self.explorer = self._explorer(evidence)
        self.confusion, self.hardest = None, None
        if evidence.arrays and evidence.winner:
            self.confusion = _confusion(tables.confusion(evidence), evidence.arrays.what)
            self.hardest = _hardest(evidence.winner, evidence.arrays)

    def all(self) -> list[Picture]:
        return [picture for picture in vars(self).values() if isinstance(picture, Picture)]

    def files(self) -> dict[str, str]:
        """The SVG and the specification of each chart, by file name."""
        drawn = {f"{own.name}.svg": own.svg for own in self.all()}
        return drawn | {f"{own.name}.vl.json": json.dumps(own.spec) for own in self.all()}

    def _gap(self, evidence: Evidence) -> Picture:
        """The gap over the numeric factor of each comparison, or over names if there is none."""
        found, factors = [], set()
        for question in evidence.comparisons:
            number = number_of(evidence.analyses[question])
            factors.add((number or "").rpartition(".")[2].replace("_", " "))
            found.append(_points(_ends(evidence, question, number), "gap_accuracy", 100))
        rows = _records(pd.concat(found))
        largest = max(rows, key=lambda row: row["mean"])
        values = {"points": formatting.number(largest["mean"]), "label": largest["label"]}
        x_title = factors.pop() if len(factors) == 1 else ""
        chart = charts.intervals(rows, x_title, "gap, points", names=self._names(rows))
        return Picture("gap", chart, values)

    def _fit(self, evidence: Evidence, cells: pd.DataFrame) -> Picture | None:
        values = evidence.gap_by_training_loss.rename(columns={"training_loss": "x"})
        rows = _records(_points(cells.merge(values, on=CONFIGURATION), "gap_loss"))
        chart = self._curves(rows, "training loss, nats", "gap, nats", log="x", falling=True)
        return Picture("gap_by_training_loss", chart) if rows else None

    def _excess(self, evidence: Evidence, cells: pd.DataFrame) -> Picture | None:
        values = evidence.held_out_loss.rename(columns={"epoch": "x"})
        by = values.groupby(CONFIGURATION)["loss_mean"]
        values = values.assign(
            mark=np.where(values.index.isin(by.idxmin()), "lowest", ""),
            loss_low=values["loss_low"].replace(0, np.nan),  # a logarithmic axis has no zero
        )
        rows = _records(_points(cells.merge(values[by.transform("size").gt(1)], on=CONFIGURATION), "loss"))
        log = "xy" if max((row["x"] for row in rows), default=0) >= 20 else "y"
        chart = self._curves(rows, "epoch", "held-out loss, nats", log=log, marked=True)
        return Picture("held_out_loss", chart) if rows else None

    def _curves(self, rows: charts.Rows, x: str, y: str, **options: Any) -> alt.FacetChart:
        names = self._names(rows)
        colours = charts.OPTIMIZERS if names == self.optimizers else charts.ORDERED
        return charts.curves(rows, x, y, names=names, colours=colours, **options)

    def _names(self, rows: charts.Rows) -> list[str]:
        """The series of the legend: all optimizers, so that each keeps its colour in every chart; others in their order."""
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
        chart = charts.explorer(runs, points, panels, self.optimizers, shown["key"])
        return Picture("explorer", chart, {"name": shown["name"]})


def _cells(evidence: Evidence, question: Question) -> pd.DataFrame:
    """The curves of a comparison, coloured by network if there are several, else by optimizer or setting."""
    cells = best(evidence.question(question), "hidden").sort_values("width", kind="stable")
    by_setting = cells["optimizer"].nunique() == 1 and cells["setting"].any()
    series = "network" if cells["network"].nunique() > 1 else "setting" if by_setting else "optimizer"
    settings = [""] * len(cells) if series == "setting" else cells["setting"]
    cells = cells.assign(series=cells[series], panel=_panels(evidence, question, settings))
    return cells[[*CONFIGURATION, "panel", "series", "label"]]


def _ends(evidence: Evidence, question: Question, number: str | None) -> pd.DataFrame:
    """The configurations of a comparison at the end of training, over a numeric factor or else over names."""
    cells = best(evidence.question(question), number or "hidden")
    single = cells["optimizer"].nunique() == 1 and 1 < cells["setting"].nunique() <= MOST_SETTINGS
    named = cells["setting"] if cells["hidden"].nunique() == 1 else _joined(cells["network"], cells["setting"])
    settings = [""] * len(cells) if single or not number else cells["setting"]
    places = cells[number] if number else named
    return cells.assign(
        x=[charts.ALL if number == TRAIN_SIZE and place == 0 else place for place in places],
        series=cells["setting" if single and number else "optimizer"],
        panel=_panels(evidence, question, settings),
    )


def _panels(evidence: Evidence, question: Question, settings: Iterable[str]) -> list[str]:
    """The name of each row's panel, with the comparison if there are several."""
    return _joined(repeat(question[1] if len(evidence.comparisons) > 1 else ""), settings)


def _joined(*texts: Iterable[str]) -> list[str]:
    return [", ".join(filter(None, own)) for own in zip(*texts, strict=False)]


def _points(rows: pd.DataFrame, metric: str, scale: float = 1) -> pd.DataFrame:
    """The columns of a chart's rows."""
    kept = [name for name in ("panel", "series", "label", "x", "mark") if name in rows]
    ends = {part: scale * rows[f"{metric}_{part}"] for part in ("mean", "low", "high")}
    return rows[kept].assign(**ends).astype({"x": object})


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of at most MOST_PANELS panels, including the first and the last."""
    panels = list(dict.fromkeys(rows["panel"]))
    chosen = {panels[round(place)] for place in np.linspace(0, len(panels) - 1, min(len(panels), MOST_PANELS))}
    return charts.records(rows[rows["panel"].isin(chosen)])


# --- the explorer


def explored(evidence: Evidence) -> list[dict[str, Any]]:
    """A row per finished run, the largest comparison first; gap in points, accuracies in %."""
    found = []
    for question in evidence.questions:
        rows = evidence.question(question).sort_values("width", kind="stable")
        settings = [", ".join(texts.values()) for texts in varied(rows, but=NETWORK)]
        rows = rows.assign(panel=_joined(repeat(question[1]), settings))[["configuration", "network", "panel"]]
        found.append(rows.merge(evidence.finished[evidence.finished["experiment"].eq(question[1])], on="configuration"))
    runs = pd.concat(found).rename(columns={"optimizer": "series"})
    held = runs["val_accuracy"].fillna(runs["test_accuracy"])
    values = {"gap": 100 * runs["gap_accuracy"], "held_out": 100 * held, "test": 100 * runs["test_accuracy"]}
    return charts.records(runs.assign(**values)[["panel", "network", "series", "name", "key", *values]])


def run_curves(evidence: Evidence) -> dict[str, Any]:
    """The curve of each finished run (`_curve`) and the address of its page in MLflow, by key."""
    finished = evidence.finished[["experiment", "key"]].to_numpy()
    links = {key: evidence.link(experiment, key) for experiment, key in finished}
    return {run.key: [*_curve(run), links[run.key]] for run in evidence.results if run.key in links}


def _curve(run: RunResult) -> tuple[list[int], list[list[float]], list[list[float]]]:
    """Epochs; losses and accuracies on the training samples; the same on the held-out samples."""
    train, held = (
        [[float(f"{value:.4g}") for value in run.history.get(f"{split}/{what}", [])] for what in ("loss", "accuracy")]
        for split in ("train", "val" if "val/loss" in run.history else "test")
    )
    return run.epochs, train, held


# --- the best network


def _confusion(answers: pd.DataFrame, what: str) -> Picture:
    errors = formatting.plural(int((answers["actual"] != answers["predicted"]).sum()), "error")
    counts = charts.records(answers.value_counts(["actual", "predicted"]).reset_index(name="n"))
    values = {"errors": errors, "samples": len(answers), "what": what}
    return Picture("confusion", charts.confusion(counts, what), values)


def _hardest(result: RunResult, arrays: Arrays) -> Picture | None:
    """The test images with the lowest probability for their label, the lowest first."""
    given, labels = result.probabilities, np.asarray(arrays.test_labels)
    if given is None or len(arrays.image_shape) < 2:
        return None
    rows: list[dict[str, Any]] = []
    for place, i in enumerate(np.argsort(given[np.arange(len(labels)), labels], kind="stable")[:HARDEST]):
        caption = f"{labels[i]} → {given[i].argmax()}, {100 * given[i].max():.0f} %"
        image = png(1 - np.asarray(arrays.test_images[i]).reshape(arrays.image_shape))
        url = f"data:image/png;base64,{base64.b64encode(image).decode()}"
        rows.append({"caption": caption, "line": place // 8, "column": place % 8, "url": url})
    return Picture("hardest_digits", charts.pictures(rows), {"digits": "; ".join(row["caption"] for row in rows)})
