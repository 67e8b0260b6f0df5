"""The pictures of a report: what each shows, its caption and its alternative text. Their numbers are in the files beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.cli import formatting
from pipeline.data.arrays import Arrays
from pipeline.report import figures, style, tables
from pipeline.report.evidence import Evidence
from pipeline.report.figures import Axis, Hard, Line, Looks
from pipeline.report.prose import opening
from pipeline.statistics.figures import FIGURES
from pipeline.training.result import RunResult

MOST_PANELS = 9
"""Panels of a picture: of more the first, the last and those between them."""

MOST_ROWS, MOST_LINES = 12, 8
"""Rows of a picture that has one for each configuration; lines of a panel that has one for each setting."""

HARDEST = 24
"""Digits in the picture of the hardest ones."""

Panel = Callable[[list[Axes]], None]
CURVE_LOOKS: Looks = {
    "training": {"color": style.TRAIN, "linestyle": "-"},
    "held out": {"color": style.HELD, "linestyle": (0, (5, 1.4))},
    "test": {"color": style.HELD, "linestyle": (0, (5, 1.4))},
}


@dataclass
class Plot:
    """One picture. `name` is its file's; `drawings` are its panels as SVG, by their titles."""

    name: str
    title: str
    caption: str
    alternative: str
    png: Callable[[], bytes]
    drawings: dict[str, bytes]


class Comparison:
    """The pictures of one comparison; what its runs do not allow is None."""

    def __init__(self, evidence: Evidence, question: tuple[str, str], looks: Looks) -> None:
        suffix = _suffix(evidence, question)
        table = evidence.question(question)
        best = table[table["n"] > 0]
        number = tables.number_of(best)
        cells = tables.cells(best, "hidden")
        self.dumbbells = _dumbbells(_best_of_each(best), suffix)
        self.gap = _gap_by(number, tables.cells(best, number), looks, suffix) if number else None
        self.gap_by_loss = _gap_by_training_loss(evidence.gap_by_training_loss, cells, looks, suffix)
        self.held_out_loss = _held_out_loss(evidence.bands[question], cells, looks, suffix)


class Plots:
    """Every picture that these runs allow; what they do not allow is None or empty."""

    def __init__(self, evidence: Evidence, arrays: Arrays | None) -> None:
        with style.styled():
            self.looks = style.look(sorted(set(evidence.runs["optimizer"])))
            self.comparisons = {
                question: Comparison(evidence, question, self.looks) for question in evidence.comparisons
            }
            curves = [_learning_curves(evidence, question) for question in evidence.questions]
            self.curves = [plot for plot in curves if plot]
            self.confusion, self.hardest = None, None
            if arrays is not None and evidence.winner is not None:
                self.confusion = _confusion(tables.confusion(evidence, arrays), arrays)
                self.hardest = _hardest(evidence.winner, arrays)

    def all(self) -> list[Plot]:
        found = [plot for comparison in self.comparisons.values() for plot in vars(comparison).values()]
        return [plot for plot in (*found, *self.curves, self.confusion, self.hardest) if plot]

    def files(self) -> dict[str, bytes]:
        """Name of each PNG and its bytes."""
        with style.styled():
            return {f"{plot.name}.png": plot.png() for plot in self.all()}


def _panels(
    name: str, title: str, caption: str, alternative: str, panels: Mapping[str, Panel], looks: Looks, rows: int = 1
) -> Plot:
    """A plot of several panels: each one's title, and the function that draws it."""
    chosen = {label: panels[label] for label in _some(list(panels))}
    sheet = partial(figures.sheet, rows=rows, beside=0.4 + style.inches(list(looks)))
    drawings = {label: style.svg(sheet({label: draw})) for label, draw in chosen.items()}
    return Plot(name, title, caption, alternative, lambda: style.png(sheet(chosen)), drawings)


def _single(name: str, title: str, caption: str, alternative: str, figure: Figure) -> Plot:
    """A plot of one drawing."""
    return Plot(name, title, caption, alternative, lambda: style.png(figure), {"": style.svg(figure)})


def _panel(
    lines: Sequence[Sequence[Line]],
    looks: Looks,
    x: Axis,
    y: Sequence[Axis],
    ends: Sequence[figures.Ends],
    *,
    band: bool = True,
    span: figures.Ends | None = None,
) -> Panel:
    """Lines for each of `y`, each on axes of its own, one above the other."""

    def draw(axes: list[Axes]) -> None:
        for ax, own, axis, limits in zip(axes, lines, y, ends, strict=True):
            figures.draw_lines(ax, own, looks, x, axis, limits, band=band, span=span)

    return draw


def _line(rows: pd.DataFrame, name: str, x: str, figure: str, mark: int | None = None) -> Line:
    mean, low, high = (rows[f"{figure}_{part}"].to_numpy(float) for part in ("mean", "low", "high"))
    return Line(name, rows[x].to_numpy(float), mean, low, high, mark)


def _suffix(evidence: Evidence, question: tuple[str, str]) -> str:
    """What the names of a comparison's files end with; nothing for the main one."""
    if question == evidence.questions[0]:
        return ""
    return "_" + "".join(letter if letter.isalnum() else "_" for letter in "_".join(question)).strip("_")


def _some(items: Sequence[str]) -> list[str]:
    """At most MOST_PANELS of `items`, evenly spread, both ends among them."""
    places = np.linspace(0, len(items) - 1, min(len(items), MOST_PANELS))
    return [items[round(place)] for place in places]


def _network_of(row: pd.Series) -> str:
    """What a row of `tables.cells` is besides its optimizer: `width 64, 2,000 samples`."""
    return ", ".join(filter(None, [_shape_of(row), row["setting"]]))


def _shape_of(row: pd.Series) -> str:
    """Its network, without the number of layers, which is among the settings: `width 64`, `residual, width 128`."""
    return re.sub(r"(?<=\d), \d+ layers$", "", opening.network(row))


def _best_of_each(rows: pd.DataFrame) -> pd.DataFrame:
    """The best row of each optimizer and of each network, schedule or whatever else has a name; of one only, the best rows."""
    named = [
        column for column in tables.varied(rows) if not pd.api.types.is_numeric_dtype(rows[column].infer_objects())
    ]
    best = rows.drop_duplicates(["optimizer", *named])
    return best if len(best) > 1 else rows.head(MOST_ROWS)


# --- accuracies and gaps at the end of training


def _dumbbells(rows: pd.DataFrame, suffix: str) -> Plot:
    held, test = "val_accuracy", "Ring: the test file."
    if rows["val_accuracy_mean"].isna().all():
        held, test = "test_accuracy", "Nothing is held out, so it is the test file."
    ends = {f"held_out_{part}": rows[f"{held}_{part}"] for part in ("mean", "low", "high")}
    rows = rows.assign(label=[opening.configuration(row) for _, row in rows.iterrows()], **ends)
    gaps = [f"{row['label']}: {formatting.points(row['gap_accuracy_mean'])}" for _, row in rows.iterrows()]
    said = f"Accuracies of each configuration, and the gap between them. {'; '.join(gaps)}."
    caption = (
        "Diamond: accuracy on the training samples; dot: on held-out samples, its line the 95 % interval over seeds; the distance "
        f"between them is the gap, whose points stand beside the name. {test}"
    )
    title = "Training, held-out and test accuracy"
    return _single(f"gap_at_best_width{suffix}", title, caption, said, figures.dumbbells(rows))


def _gap_by(number: str, cells: pd.DataFrame, looks: Looks, suffix: str) -> Plot:
    """A line per optimizer, or of a single one per setting, over a factor whose values are numbers; panels for other settings."""
    line, panel = "optimizer", "setting"
    if cells["optimizer"].nunique() == 1 and 1 < cells["setting"].nunique() <= MOST_LINES:
        line, panel = "setting", "optimizer"
        looks = style.look(list(dict.fromkeys(cells["setting"])))
    panels = {
        str(title): [_line(rows, str(name), number, "gap_accuracy") for name, rows in own.groupby(line)]
        for title, own in cells.groupby(panel, sort=False)
    }
    ends = [figures.limits(figures.GAP_ACCURACY, panels.values(), 0.35)]
    name = number.rpartition(".")[2].replace("_", " ")
    axis = _axis_of(number, name, sorted(map(float, set(cells[number]))))
    draw = {
        title: _panel([lines], looks, axis, [figures.GAP_ACCURACY], ends, band=False) for title, lines in panels.items()
    }
    caption = (
        "Training minus held-out accuracy at the end of training. Vertical lines: 95 % intervals over seeds, the longest cut at "
        f"the frame; points of one {name} stand side by side."
    )
    largest = cells.sort_values("gap_accuracy_mean").iloc[-1]
    size = FIGURES["gap_accuracy"].size(largest["gap_accuracy_mean"])
    where = "" if number == "width" else f", {opening.setting(number, largest[number])}"
    of = f"{largest['optimizer']}, {_network_of(largest)}{where}"
    said = f"A line for each {line} over the {name}. The largest gap is {size}, of {of}."
    return _panels(
        f"gap_accuracy_by_{name.replace(' ', '_')}{suffix}",
        f"The gap in accuracy, by {name}",
        caption,
        said,
        draw,
        looks,
    )


def _axis_of(number: str, name: str, values: Sequence[float]) -> Axis:
    """Doubling is the same distance everywhere where all values are over 0 and far apart; else they stand where they are."""
    if number == "width":
        name = "width, units in each hidden layer"
    if min(values) > 0 and max(values) / min(values) >= 4:
        return Axis(name, np.log2, tuple(values))
    spread = max(values) - min(values)
    return Axis(name, lambda value: 4 * (np.asarray(value, float) - min(values)) / spread, tuple(values))


# --- curves


def _by_network(
    cells: pd.DataFrame,
    lines_of: Callable[[pd.Series, str], Sequence[Line] | None],
    looks: Looks,
    x: Axis,
    y: Sequence[Axis],
) -> tuple[dict[str, Panel], Looks]:
    """A panel by setting and network, a line per optimizer; of a single optimizer a panel by setting, a line per network; of
    a single network too, a line per setting.

    `lines_of`: of a row of `cells`, and what its lines are called, a line for each of `y`; None where it has no curve.
    """
    cells = cells.assign(
        network=[_network_of(row) for _, row in cells.iterrows()], shape=[_shape_of(row) for _, row in cells.iterrows()]
    ).sort_values("width", kind="stable")
    line, panel = "optimizer", "network"
    if cells["optimizer"].nunique() == 1 and cells["shape"].nunique() > 1:
        line, panel = "shape", "setting"
    elif cells["optimizer"].nunique() == 1 and 1 < cells["setting"].nunique() <= MOST_LINES:
        line, panel = "setting", "shape"
    if line != "optimizer":
        looks = style.look(list(dict.fromkeys(cells[line])))
    found: dict[str, list[Sequence[Line]]] = {}
    for _, row in cells.iterrows():
        if lines := lines_of(row, row[line]):
            found.setdefault(row[panel], []).append(lines)
    stacked = {title: list(zip(*lines, strict=True)) for title, lines in found.items()}
    return _stacked(stacked, looks, x, y), looks


def _stacked(
    panels: Mapping[str, Sequence[Sequence[Line]]], looks: Looks, x: Axis, y: Sequence[Axis]
) -> dict[str, Panel]:
    """Panels that share their axes, each with lines for each of `y`."""
    if not panels:
        return {}
    ends = [figures.limits(axis, [stack[level] for stack in panels.values()]) for level, axis in enumerate(y)]
    places = np.concatenate([x.scale(line.x) for stack in panels.values() for line in stack[0]])
    room = 0.03 * float(np.ptp(places)) or 0.5
    span = float(places.min()) - room, float(places.max()) + room
    return {title: _panel(stack, looks, x, y, ends, span=span) for title, stack in panels.items()}


def _gap_by_training_loss(table: pd.DataFrame, cells: pd.DataFrame, looks: Looks, suffix: str) -> Plot | None:
    table = table[table["experiment"].isin(cells["experiment"])]
    curves = {str(name): own for name, own in table.groupby("configuration", sort=False)}

    def lines_of(row: pd.Series, name: str) -> Sequence[Line] | None:
        own = curves.get(row["configuration"])
        if own is None:
            return None
        return [_line(own, name, "training_loss", figure, len(own) - 1) for figure in ("gap_loss", "gap_accuracy")]

    axes = [figures.GAP_LOSS, figures.GAP_ACCURACY]
    panels, looks = _by_network(cells, lines_of, looks, figures.TRAINING_LOSS, axes)
    if not panels:
        return None
    caption = (
        "How large the gap is when the training loss has fallen so far: above in loss, below in accuracy; mean over seeds, 95 % "
        "interval as a band. Where two lines pass the same training loss, the higher one generalises worse there."
    )
    said = "The gap against the training loss, which falls to the right."
    return _panels(f"gap_by_training_loss{suffix}", "The gap at each training loss", caption, said, panels, looks, 2)


def _held_out_loss(bands: pd.DataFrame, cells: pd.DataFrame, looks: Looks, suffix: str) -> Plot | None:
    held = bands[bands["split"].ne("train")].groupby("configuration", sort=False)
    curves = {str(name): own for name, own in held if len(own) > 1}

    def lines_of(row: pd.Series, name: str) -> Sequence[Line] | None:
        own = curves.get(row["configuration"])
        return None if own is None else [_line(own, name, "epoch", "loss", int(own["loss_mean"].to_numpy().argmin()))]

    panels, looks = _by_network(cells, lines_of, looks, figures.EPOCH, [figures.LOSS])
    if not panels:
        return None
    caption = "Mean over seeds, 95 % interval as a band. The marker is the lowest point: what rises after it was trained too long."
    said = "Held-out loss by epoch, the lowest point of each line marked."
    return _panels(f"held_out_loss{suffix}", "Held-out loss by epoch", caption, said, panels, looks)


def _learning_curves(evidence: Evidence, question: tuple[str, str]) -> Plot | None:
    """Training and held-out loss and accuracy: a panel for each optimizer with the best network, or for each network of one."""
    bands = evidence.bands[question]
    cells = tables.cells(evidence.question(question), "hidden")
    cells = cells[cells["configuration"].isin(bands["configuration"])]
    if cells.empty:
        return None
    best = cells.sort_index().iloc[0]
    alike = cells[cells["hidden"].eq(best["hidden"]) & cells["setting"].eq(best["setting"])]
    shown = alike if len(alike) > 1 else cells
    curves = {
        f"{row['optimizer']}, {_network_of(row)}": _curves(bands, row["configuration"]) for _, row in shown.iterrows()
    }
    panels = _stacked(curves, CURVE_LOOKS, figures.EPOCH, [figures.LOSS, figures.ACCURACY])
    held = "held-out samples" if "val" in set(bands["split"]) else "the test file, since nothing is held out"
    samples = {result.job.training.curve_samples for result in evidence.results_of(question)}
    sizes = [f"{size:,}" for size in sorted(samples - {0})]
    part = f" Training curves are measured on {formatting.listed(sizes, 'or')} training samples." if sizes else ""
    caption = (
        f"Training and {held}: mean over seeds, 95 % interval as a band.{part} The axis of accuracy is stretched towards 100 %, so "
        "that halving the errors is the same distance everywhere."
    )
    title, said = f"{question[1]}, on {question[0]}", "Loss and accuracy by epoch, training against held out."
    return _panels(f"learning_curves{_suffix(evidence, question)}", title, caption, said, panels, CURVE_LOOKS, 2)


def _curves(bands: pd.DataFrame, configuration: str) -> list[list[Line]]:
    """Training and held-out lines of loss, and of accuracy; those of the test file where nothing is held out."""
    own = bands[bands["configuration"].eq(configuration)]
    other = "held out" if own["split"].eq("val").any() else "test"
    splits = {"training": own[own["split"].eq("train")], other: own[own["split"].ne("train")]}
    return [[_line(rows, name, "epoch", figure) for name, rows in splits.items()] for figure in ("loss", "accuracy")]


# --- the best network


def _confusion(answers: pd.DataFrame, arrays: Arrays) -> Plot:
    counts = np.zeros((arrays.classes, arrays.classes), dtype=int)
    np.add.at(counts, (answers["actual"], answers["predicted"]), 1)
    errors = formatting.plural(len(answers) - int(np.trace(counts)), "error")
    said = f"{errors} on {len(answers):,} test {arrays.what}."
    caption = f"{said} Rows: the class of {'an image' if arrays.what == 'images' else 'a sample'}; columns: what the network says."
    return _single("confusion", "What it takes for what", caption, said, figures.confusion(counts))


def _hardest(result: RunResult, arrays: Arrays) -> Plot | None:
    digits = hardest(result, arrays)
    if not digits:
        return None
    said = "; ".join(f"a {digit.actual}, taken for {digit.predicted}" for digit in digits)
    caption = (
        "The test images to whose label the network gives the least probability: the label → what the network says, and how sure "
        "it is."
    )
    return _single("hardest_digits", "The hardest digits", caption, said, figures.digit_sheet(digits))


def hardest(result: RunResult, arrays: Arrays, count: int = HARDEST) -> list[Hard]:
    """The test images to whose label the network gives the least, least first."""
    if result.probabilities is None or len(arrays.image_shape) < 2:
        return []
    labels = np.asarray(arrays.test_labels)
    belief = result.probabilities[np.arange(len(labels)), labels]
    return [
        Hard(
            image=np.asarray(arrays.test_images[i]).reshape(arrays.image_shape),
            actual=int(labels[i]),
            predicted=int(result.probabilities[i].argmax()),
            certainty=float(result.probabilities[i].max()),
        )
        for i in np.argsort(belief, kind="stable")[:count]
    ]
